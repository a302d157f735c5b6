"""The first page: the figures, the last hour, and the orders to search, filter and sort."""

from dataclasses import replace
from typing import Any, Final

from nicegui import events, ui

from board.figures import SORTS, Figures, Selection
from board.pages import texts
from board.pages.actions import start_form
from board.pages.charts import Charts
from board.pages.context import Board
from board.pages.layout import TICK_SECONDS, page
from board.rows import Order
from domain.states import TERMINAL, State

ROWS_A_PAGE: Final = 25

NOW: Final = {
    "open": "Open",
    "waiting": "Waiting for a person",
    "near": "Deadline in 5 s",
    "past": "Past deadline",
}
LAST_HOUR: Final = {
    "started": "Started",
    "shipped": "Shipped",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "rejected": "Rejected",
    "in_time": "In time",
    "p50": "Time to ship, p50",
    "p95": "Time to ship, p95",
}
FILTERS: Final = {
    "open": "Open",
    "past": "Past deadline",
    "all": "All",
    **{state.value: texts.words(state.value).capitalize() for state in State},
}
WIDE: Final = {"classes": "gt-xs", "headerClasses": "gt-xs"}
"""Columns that a phone has no room for; the order's page tells them."""

COLUMNS: Final[list[dict[str, Any]]] = [
    {"name": "order_id", "label": "Order", "field": "order_id", "align": "left"},
    {"name": "state", "label": "State", "field": "state", "align": "left"},
    {"name": "changed", "label": "Since", "field": "changed", "align": "right"},
    {"name": "started", "label": "Age", "field": "started", "align": "right", **WIDE},
    {"name": "deadline", "label": "Time left", "field": "deadline", "align": "right"},
    {"name": "amount", "label": "Amount", "field": "amount", "align": "right", **WIDE},
    {"name": "reason", "label": "Reason", "field": "reason", "align": "left", **WIDE},
]
ORDER_CELL: Final = """
<q-td :props="props"><a :href="'/orders/' + encodeURIComponent(props.value)"
  class="order-id text-primary font-medium underline"
  :title="props.value">{{ props.value }}</a></q-td>
"""
STATE_CELL: Final = """
<q-td :props="props"><q-badge :color="props.row.colour">{{ props.value }}</q-badge></q-td>
"""
LEFT_CELL: Final = """
<q-td :props="props" :class="props.row.urgent ? 'text-negative font-bold' : ''">
{{ props.value }}</q-td>
"""
REASON_CELL: Final = """
<q-td :props="props"><div class="ellipsis" style="max-width: 20rem" :title="props.value">
{{ props.value }}</div></q-td>
"""


def register(board: Board) -> None:
    """Make the page known."""

    @ui.page("/")
    def overview(state: str = "open", search: str = "") -> None:
        with page(board, "Board"):
            _Overview(board, state if state in FILTERS else "open", search)


class _Overview:
    """One browser's view."""

    def __init__(self, board: Board, state: str, search: str) -> None:
        self._board = board
        self._wanted = Selection(state=state, search=search.strip(), count=ROWS_A_PAGE)
        form = start_form(board.rest)
        with ui.row().classes("w-full items-center"):
            ui.label("Board").classes("text-2xl font-bold").props("role=heading aria-level=1")
            ui.space()
            ui.button("Start a sample order", icon="add", on_click=form.open)
        self._values: dict[str, ui.label] = {}
        self._cards("Now", NOW)
        self._cards("Last hour", LAST_HOUR)
        self._charts = Charts()
        with ui.row().classes("w-full gap-2").mark("states"):
            self._states = {s: self._state_button(s) for s in State if s not in TERMINAL}
        self._list()
        self._records = ui.label().classes("text-sm opacity-80").mark("records")
        self._broken = ui.expansion(icon="report").classes("w-full").mark("broken")
        self._broken.visible = False
        self._shown_broken: list[tuple[int, int]] = []
        self.refresh()
        ui.timer(TICK_SECONDS, self.refresh)

    def _cards(self, title: str, names: dict[str, str]) -> None:
        with ui.card().classes("w-full q-pa-md gap-2"):
            ui.label(title).classes("text-sm font-bold opacity-80")
            with ui.row().classes("w-full gap-4"):
                for name, label in names.items():
                    with ui.column().classes("figure gap-0"):
                        self._values[name] = ui.label(texts.NOTHING).classes("value").mark(name)
                        ui.label(label).classes("name")

    def _list(self) -> None:
        with ui.card().classes("w-full q-pa-md gap-2"):
            with ui.row().classes("w-full items-center gap-2"):
                search = ui.input(
                    "Search order id", value=self._wanted.search, on_change=self._search
                )
                search.props("outlined dense clearable debounce=200").classes(
                    "w-full sm:w-auto sm:grow"
                )
                self._filter = ui.select(
                    FILTERS, value=self._wanted.state, label="State", on_change=self._filter_by
                )
                self._filter.props("outlined dense").classes("grow basis-28 sm:grow-0 sm:basis-44")
                self._sort = ui.select(
                    {c["name"]: c["label"] for c in COLUMNS if c["name"] in SORTS},
                    value=self._wanted.sort,
                    label="Sort by",
                    on_change=self._sort_by,
                )
                self._sort.props("outlined dense").classes("grow basis-28 sm:grow-0 sm:basis-36")
                order = ui.button(icon="swap_vert", on_click=self._turn).props("outline")
                order.props('aria-label="Turn the order round"')
            self._table = ui.table(columns=COLUMNS, rows=[], row_key="order_id")
            self._table.classes("w-full").props('flat dense no-data-label="No orders"')
            for name, cell in (
                ("order_id", ORDER_CELL),
                ("state", STATE_CELL),
                ("deadline", LEFT_CELL),
                ("reason", REASON_CELL),
            ):
                self._table.add_slot(f"body-cell-{name}", cell)
            with ui.row().classes("w-full items-center justify-end gap-2"):
                self._count = ui.label().classes("text-sm").mark("count")
                self._back = ui.button(icon="chevron_left", on_click=lambda: self._leaf(-1))
                self._back.props('flat dense aria-label="Page before"')
                self._on = ui.button(icon="chevron_right", on_click=lambda: self._leaf(1))
                self._on.props('flat dense aria-label="Next page"')

    def refresh(self) -> None:
        """Show what is known now."""
        if not self._board.follower.status.complete:
            return
        figures = self._board.shared.figures()
        for name, text in _texts(figures).items():
            self._values[name].set_text(text)
        self._values["past"].classes(
            add="text-negative" if figures.past else "",
            remove="" if figures.past else "text-negative",
        )
        self._charts.show(figures.minutes)
        self._show_states(figures)
        self._show_list(figures.now)
        self._show_records(figures)

    def _state_button(self, state: State) -> ui.button:
        button = ui.button(on_click=lambda: self._filter.set_value(state.value))
        button.props(f"dense unelevated no-caps color={texts.colour(state)}").classes("q-px-sm")
        button.visible = False
        return button

    def _show_states(self, figures: Figures) -> None:
        for state, button in self._states.items():
            count = figures.by_state.get(state, 0)
            button.set_text(f"{texts.words(state)} {count:,}")
            if count:  # and then it stays, or it would be gone under a finger or the focus
                button.visible = True

    def _show_list(self, now: int) -> None:
        orders, total = self._board.shared.select(self._wanted)
        if (wanted := self._wanted.within(total)) != self._wanted:
            self._wanted = wanted
            orders, total = self._board.shared.select(wanted)
        rows = [_row(order, now) for order in orders]
        if rows != self._table.rows:
            self._table.rows = rows
        first, last = self._wanted.first, self._wanted.first + len(rows)
        self._count.set_text(f"{first + 1 if rows else 0}-{last} of {total:,}")
        self._back.set_enabled(first > 0)
        self._on.set_enabled(last < total)

    def _show_records(self, figures: Figures) -> None:
        self._records.set_text(
            f"Records that changed nothing: {figures.repeats:,} repeated, {figures.broken:,} "
            f"broken, {figures.unknown:,} of orders no longer on the board; "
            f"{figures.missing:,} events of open orders are missing."
        )
        shown = [(partition, broken.offset) for partition, broken in figures.last_broken]
        if shown == self._shown_broken:
            return
        self._shown_broken = shown
        self._broken.visible = bool(shown)
        self._broken.set_text(f"Broken events, the last {len(shown)}")
        self._broken.clear()
        with self._broken:
            for partition, broken in figures.last_broken:
                where = f"partition {partition}, offset {broken.offset}: {broken.error}"
                ui.label(where).classes("text-sm font-medium wrap-anywhere")
                ui.label(broken.value or "(no value)").classes(
                    "text-xs font-mono opacity-80 wrap-anywhere"
                )

    def _select(self, **changes: Any) -> None:  # noqa: ANN401  # fields of Selection
        self._wanted = replace(self._wanted, **{"first": 0, **changes})
        self.refresh()

    def _search(self, event: events.ValueChangeEventArguments[str | None]) -> None:
        self._select(search=(event.value or "").strip())

    def _filter_by(self, event: events.ValueChangeEventArguments[str]) -> None:
        self._select(state=event.value)

    def _sort_by(self, event: events.ValueChangeEventArguments[str]) -> None:
        self._select(sort=event.value, descending=event.value not in ("order_id", "deadline"))

    def _turn(self) -> None:
        self._select(descending=not self._wanted.descending)

    def _leaf(self, pages: int) -> None:
        self._select(first=max(0, self._wanted.first + pages * ROWS_A_PAGE))


def _texts(figures: Figures) -> dict[str, str]:
    hour = figures.hour
    texts_now = {name: f"{getattr(figures, name):,}" for name in NOW}
    counts = ("started", "shipped", "failed", "cancelled", "rejected")
    return {
        **texts_now,
        **{name: f"{getattr(hour, name):,}" for name in counts},
        "in_time": texts.share(hour.in_time_share),
        "p50": texts.seconds(hour.p50),
        "p95": texts.seconds(hour.p95),
    }


def _row(order: Order, now: int) -> dict[str, Any]:
    left, urgent = "", False
    if order.open:
        until = order.decide_by if order.waits_for_person and order.decide_by else order.deadline
        left, urgent = texts.span(until - now), until <= now
    return {
        "order_id": order.order_id,
        "state": texts.words(order.state),
        "colour": texts.colour(order.state),
        "changed": texts.span((now - order.changed) // 1000 * 1000),
        "started": texts.span(((order.ended or now) - order.started) // 1000 * 1000),
        "deadline": left,
        "urgent": urgent,
        "amount": texts.money(order.amount, order.currency),
        "reason": order.reason or "",
    }
