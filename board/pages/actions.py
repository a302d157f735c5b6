"""The buttons: each asks for a name, a reason and what its command needs, and shows its outcome."""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

from nicegui import ui

from board.rest import ApiAway, ApiError, Outcome, Rest

SAMPLE_ADDRESS: Final = {
    "street": "123 Main St",
    "city": "Anytown",
    "state": "CA",
    "zip": "12345",
}
_PRICE: Final = re.compile(r"[0-9]{1,7}(\.[0-9]{1,2})?")
ADDRESS_LABELS: Final = {"street": "Street", "city": "City", "state": "State", "zip": "Zip"}


@dataclass(frozen=True, slots=True)
class Ask:
    """One field of a form; ``start`` is what stands in it at first, ``hint`` below it."""

    name: str
    label: str
    start: str = ""
    hint: str = ""


LOGGED: Final = "kept in the board's log, not with the order"
"""The command has no field for it. Short: a phone has one line for it."""
NAME: Final = Ask("name", "Your name")
REASON: Final = Ask("reason", "Reason")


class Form:
    """A dialog that sends one command and shows what became of it.

    ``asks`` has a ``name`` and a ``reason`` among others. ``body`` turns what was typed into the
    command's body; nothing is sent while a field is empty.
    """

    def __init__(
        self,
        rest: Rest,
        title: str,
        action: str,
        asks: list[Ask],
        body: Callable[[Mapping[str, str]], Mapping[str, Any]],
        order_id: str | None = None,
    ) -> None:
        self._rest = rest
        self._action = action
        self._body = body
        self._order_id = order_id
        self._busy = False
        with ui.dialog() as self.dialog, ui.card().classes("w-full max-w-md gap-2"):
            ui.label(title).classes("text-lg font-bold")
            self._inputs = {ask.name: _input(ask) for ask in asks}
            self._result = ui.label().classes("wrap-anywhere font-medium").mark("outcome")
            self._result.props("role=status aria-live=polite")
            self._link = ui.link("Open the order", "#").mark("open-order")
            with ui.row().classes("w-full justify-end gap-2"):
                ui.button("Close", on_click=self.dialog.close).props("flat")
                self._send = ui.button(title, on_click=self.submit)
        last = list(self._inputs.values())[-1]
        last.on("keydown.enter", self.submit)
        self.open_at_rest()

    def open_at_rest(self) -> None:
        """Take away what an earlier use has left."""
        self._link.visible = False
        self._result.set_text("")

    def open(self) -> None:
        """Show the dialog, as it was left where a command still waits for its outcome."""
        self.dialog.open()
        if self._busy:
            return
        self.open_at_rest()
        self._inputs["reason"].set_value("")  # the name stays, a reason is for one command
        if "order_id" in self._inputs:
            self._inputs["order_id"].set_value(f"S-{secrets.token_hex(3)}")

    async def submit(self) -> None:
        """Send the command; the outcome stays to be read until the dialog is closed."""
        if self._busy:  # Enter, pressed again
            return
        valid = [field.validate() for field in self._inputs.values()]
        if not all(valid):
            return
        values = {name: (field.value or "").strip() for name, field in self._inputs.items()}
        order_id = self._order_id or values.pop("order_id")
        self._busy = True
        self._send.props("loading")  # disabled, it would lose the focus
        self._tell("Sent; waiting for its outcome ...", "")
        try:
            outcome = await self._rest.command(
                order_id, self._action, self._body(values), values["name"], values["reason"]
            )
        except ApiError as error:
            unclear = isinstance(error, ApiAway) and error.reached
            told = "It is unclear whether it was sent" if unclear else "Not sent"
            self._tell(f"{told}: {error}", "text-negative")
        else:
            self._tell(outcome.text, _tone(outcome))
            self._link.props(f'href="/orders/{quote(order_id, safe="")}"')
            self._link.visible = self._order_id is None
        finally:
            self._busy = False
            self._send.props(remove="loading")

    def _tell(self, text: str, tone: str) -> None:
        self._result.classes(remove="text-negative text-positive text-warning", add=tone)
        self._result.set_text(text)


def _input(ask: Ask) -> ui.input:
    rules = {"Please fill this in": lambda text: bool((text or "").strip())}
    field = ui.input(ask.label, value=ask.start, validation=rules)
    field.without_auto_validation()
    autocomplete = "name" if ask.name == "name" else "off"
    field.props(f"outlined dense autocomplete={autocomplete}")
    if ask.hint:
        field.props(f'hint="{ask.hint}"')
    return field.classes("w-full").mark(ask.name)


def _tone(outcome: Outcome) -> str:
    if outcome.status == "applied":
        return "text-positive"
    return "text-warning" if outcome.status == "pending" else "text-negative"


def start_form(rest: Rest) -> Form:
    """Return the form that starts a sample order."""
    asks = [
        Ask("order_id", "Order id"),
        Ask("price", "Price in USD (above 500.00 a reviewer is asked)", "19.99"),
        *_address_asks(SAMPLE_ADDRESS),
        replace(NAME, hint=LOGGED),
        replace(REASON, hint=LOGGED),
    ]
    return Form(rest, "Start order", "start", asks, _start_body)


def _start_body(values: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        "initial_address": _address(values),
        "items": [{"sku": "SAMPLE", "quantity": 1, "unit_price": minor_units(values["price"])}],
        "currency": "USD",
    }


def minor_units(text: str) -> int:
    """Return an amount typed as ``19.99`` in minor units; raises ``ApiError`` for anything else."""
    if not _PRICE.fullmatch(text.strip()):
        raise ApiError(f"price {text!r} is not an amount like 19.99")
    whole, _, cents = text.strip().partition(".")
    return int(whole) * 100 + int(cents.ljust(2, "0"))


def cancel_form(rest: Rest, order_id: str) -> Form:
    """Return the form that cancels an order."""
    return Form(
        rest,
        "Cancel order",
        "cancel",
        [NAME, REASON],
        lambda v: {"cancelled_by": v["name"], "reason": v["reason"]},
        order_id,
    )


def address_form(rest: Rest, order_id: str) -> Form:
    """Return the form that changes an order's address."""
    return Form(
        rest,
        "Change address",
        "update-address",
        [*_address_asks({}), NAME, replace(REASON, hint=LOGGED)],
        lambda v: {"updated_by": v["name"], "new_address": _address(v)},
        order_id,
    )


def review_form(rest: Rest, order_id: str, action: str) -> Form:
    """Return the form that approves or rejects an order."""
    return Form(
        rest,
        action.capitalize(),
        action,
        [NAME, REASON],
        lambda v: {"reviewed_by": v["name"], "reason": v["reason"]},
        order_id,
    )


def _address_asks(start: Mapping[str, str]) -> list[Ask]:
    return [Ask(name, label, start.get(name, "")) for name, label in ADDRESS_LABELS.items()]


def _address(values: Mapping[str, str]) -> dict[str, str]:
    return {name: values[name] for name in ADDRESS_LABELS}
