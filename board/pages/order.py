"""One order: where it is, what happened to it, and the buttons that change it."""

from typing import Any
from urllib.parse import quote

from nicegui import ui

from board.pages import texts
from board.pages.actions import address_form, cancel_form, review_form
from board.pages.context import Board
from board.pages.layout import TICK_SECONDS, page
from board.rest import ApiError, Json
from domain.states import TERMINAL, State


def register(board: Board) -> None:
    """Make the page known."""

    @ui.page("/orders/{order_id}")
    def order(order_id: str) -> None:
        with page(board, f"Order {order_id}"):
            _OrderPage(board, order_id)


class _OrderPage:
    """One browser's view of one order.

    What it shows comes from the REST API, asked twice a second: the retries of the running step
    make no event.
    """

    def __init__(self, board: Board, order_id: str) -> None:
        self._board = board
        self._order_id = order_id
        self._shown: tuple[Json | None, Json | None] | None = None
        self._asking = False
        rest = board.rest
        with ui.row().classes("w-full items-center gap-3"):
            title = ui.label(f"Order {order_id}").classes("text-2xl font-bold wrap-anywhere")
            title.props("role=heading aria-level=1")
            self._state = ui.badge().classes("text-base q-pa-sm").mark("state")
            self._left = ui.label().classes("font-medium wrap-anywhere").mark("left")
        self._trouble = (
            ui.label().classes("text-negative font-medium wrap-anywhere").mark("trouble")
        )
        with ui.row().classes("w-full gap-2"):
            self._buttons = {
                "approve": ui.button(
                    "Approve", on_click=review_form(rest, order_id, "approve").open
                ).props("color=positive"),
                "reject": ui.button(
                    "Reject", on_click=review_form(rest, order_id, "reject").open
                ).props("color=negative"),
                "cancel": ui.button("Cancel", on_click=cancel_form(rest, order_id).open),
                "address": ui.button("Change address", on_click=address_form(rest, order_id).open),
            }
        with ui.row().classes("w-full gap-3 items-stretch"):
            with _card("Running step"):
                self._step = ui.column().classes("gap-0 w-full")
                self._workflow = ui.link("Workflow in the Temporal UI", new_tab=True)
            self._address = _card("Address")
            self._payment = _card("Payment")
        with ui.card().classes("w-full q-pa-md gap-2"):
            ui.label("What happened").classes("text-sm font-bold opacity-80")
            self._timeline = ui.column().classes("w-full gap-0").mark("timeline")
            self._further = ui.label().classes("font-medium")
        for hidden in (*self._buttons.values(), self._workflow):
            hidden.visible = False
        ui.timer(TICK_SECONDS, self.refresh)

    async def refresh(self) -> None:
        """Ask the API and show what it says; one question at a time."""
        if self._asking:
            return
        self._asking = True
        path = f"/orders/{quote(self._order_id, safe='')}"
        try:
            status = await self._board.rest.get_shared(f"{path}/status")
            if self._shown and _settled(self._shown, status):
                return
            history = await self._board.rest.get_shared(f"{path}/history")
        except ApiError as error:
            self._trouble.set_text(str(error))
            return
        finally:
            self._asking = False
        self._trouble.set_text("" if history else f"Order {self._order_id} is not known (yet).")
        self._show(status, history)
        self._shown = (status, history)

    def _show(self, status: Json | None, history: Json | None) -> None:
        before = self._shown or (None, None)
        if history != before[1]:
            self._show_timeline(history)
        if status is None:
            return
        state = State(status["state"])
        self._state.set_text(texts.words(state))
        self._state.props(f"color={texts.colour(state)}")
        self._left.set_text(_time_left(status))
        for name, button in self._buttons.items():
            review = name in ("approve", "reject")
            button.visible = state is State.IN_REVIEW if review else state not in TERMINAL
        if _without_clock(status) != _without_clock(before[0]):
            self._show_cards(status)

    def _show_cards(self, status: Json) -> None:
        _fill(self._step, _step_lines(status))
        links: dict[str, str] = status.get("links", {})
        self._workflow.props["href"] = links.get("temporal_ui", self._board.temporal_ui_url)
        self._workflow.visible = True
        address = status["address"]
        _fill(
            self._address,
            [address["street"], f"{address['city']}, {address['state']} {address['zip']}"],
        )
        _fill(self._payment, _payment_lines(status))

    def _show_timeline(self, history: Json | None) -> None:
        """Add what has happened since: what stands there stays, and what is selected in it."""
        history = history or {"events": [], "next": None}
        with self._timeline:
            for event in history["events"][len(list(self._timeline)) :]:
                _event(event)
        further = history["next"]
        self._further.set_text(f"The API has more of it: GET {further}" if further else "")


def _card(title: str) -> ui.column:
    with ui.card().classes("q-pa-md gap-1 grow basis-60"):
        ui.label(title).classes("text-sm font-bold opacity-80")
        return ui.column().classes("gap-0 w-full wrap-anywhere").mark(title)


def _fill(column: ui.column, lines: list[str]) -> None:
    column.clear()
    with column:
        for line in lines:
            ui.label(line)


def _event(event: Json) -> None:
    with ui.row().classes("w-full gap-x-3 gap-y-0 q-py-xs items-baseline event"):
        at = texts.moment(event["at"]).strftime("%H:%M:%S.%f")[:-3]
        ui.label(at).classes("font-mono text-sm w-24").tooltip(f"{event['at']}")
        since = event.get("seconds")
        ui.label("" if since is None else f"+{texts.span(since * 1000)}").classes(
            "text-sm opacity-70 w-20"
        )
        colour = "negative" if event["type"] == "order.command_rejected" else None
        name = ui.label(texts.words(event["type"])).classes("font-medium w-44")
        name.classes(f"text-{colour}" if colour else "")
        ui.label(_details(event["data"])).classes("text-sm wrap-anywhere grow basis-60")


def _details(data: Json) -> str:
    parts = []
    currency = data.get("currency")
    for name, value in data.items():
        if value is None or name in ("currency", "items"):
            continue
        parts.append(f"{texts.words(name)}: {_value(name, value, currency)}")
    if items := data.get("items"):
        parts.append(", ".join(f"{item['quantity']} x {item['sku']}" for item in items))
    return " · ".join(parts)


def _value(name: str, value: Any, currency: str | None) -> str:  # noqa: ANN401  # JSON
    if name == "amount":
        return texts.money(value, currency)
    if isinstance(value, dict):
        return ", ".join(str(part) for part in value.values())
    if name in ("deadline", "decide_by"):
        return texts.moment(value).strftime("%H:%M:%S")
    return str(value)


def _time_left(status: Json) -> str:
    left = status.get("seconds_left")
    if left is None:
        return status.get("reason") or ""
    if status["state"] == State.IN_REVIEW:
        return f"a reviewer has {texts.span(left * 1000)} to decide"
    return f"{texts.span(left * 1000)} left" if left > 0 else f"late by {texts.span(-left * 1000)}"


def _step_lines(status: Json) -> list[str]:
    if State(status["state"]) in TERMINAL:
        lines = ["none: the order has ended"]
        return [*lines, status["reason"]] if status.get("reason") else lines
    attempts, error = status.get("attempts") or 0, status.get("last_error")
    lines = [f"{status.get('step') or 'unknown'}"]
    if attempts:
        lines.append(f"{attempts} failed attempt{'s' if attempts > 1 else ''} so far")
    if error:
        lines.append(f"Last error: {error}")
    if not status.get("live", True):
        lines.append("(the workflow does not answer just now)")
    return lines


def _payment_lines(status: Json) -> list[str]:
    payment = status.get("payment")
    if not payment:
        amount = texts.money(status.get("amount"), status.get("currency"))
        return ["none yet", amount] if amount else ["none yet"]
    return [
        f"{payment['status']}: {texts.money(payment['amount'], payment['currency'])}",
        payment["payment_id"],
    ]


def _without_clock(status: Json | None) -> Json:
    return {name: value for name, value in (status or {}).items() if name != "seconds_left"}


def _settled(shown: tuple[Json | None, Json | None], status: Json | None) -> bool:
    """Whether the order has ended and all of it is shown.

    Status and history are asked one after the other, and either answer may be half a second old:
    the history shown may lack the end that the status tells.
    """
    before, history = shown
    if before is None or status is None or history is None:
        return False
    whole = history.get("next") is not None or (
        bool(history["events"]) and history["events"][-1]["sequence"] >= status["events"]
    )
    return whole and status == before and status.get("seconds_left") is None
