"""Orders and events as text for people."""

import sys
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.money import in_units

Json = dict[str, Any]

PIPE_WIDTH: Final = 10_000

GOOD: Final = ("shipped", "approved", "applied")
BAD: Final = ("failed", "rejected", "cancelled", "refunded", "dispatch_failed")


class _Console(Console):
    """Leaves it to the program what it means that a reader has gone; rich would exit with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """Return a console on standard output; in a pipe it neither colours nor cuts."""
    width = None if sys.stdout and sys.stdout.isatty() else PIPE_WIDTH
    return _Console(width=width, soft_wrap=True, highlight=False, markup=False, emoji=False)


def money(amount: int | None, currency: str | None) -> str:
    """Return an amount of minor units for reading, as ``35.75 USD``."""
    if amount is None or currency is None:
        return ""
    return f"{in_units(amount, currency)} {currency}"


def state(name: str | None) -> Text:
    """Return a state in its colour."""
    style = "green" if name in GOOD else "red" if name in BAD else "yellow"
    return Text(name or "", style)


def clock(at: str) -> str:
    """Return the local time of a timestamp, with its date unless that is today."""
    local = datetime.fromisoformat(at).astimezone()
    today = local.date() == datetime.now().astimezone().date()
    return f"{local:%H:%M:%S}" if today else f"{local:%Y-%m-%d %H:%M:%S}"


def address(value: Json) -> str:
    """Return an address on one line."""
    return ", ".join(str(value[part]) for part in ("street", "city", "state", "zip"))


def orders(page: Json) -> Table:
    """Return a page of orders as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("ORDER", "STATE", "AMOUNT", "RECEIVED", "CHANGED", "REASON"):
        table.add_column(column, overflow="fold", justify="right" if column == "AMOUNT" else "left")
    for order in page["orders"]:
        table.add_row(
            order["order_id"],
            state(order["state"]),
            money(order["amount"], order["currency"]),
            clock(order["received_at"]),
            clock(order["updated_at"]),
            order["reason"] or "",
        )
    return table


def status(order: Json) -> Table:
    """Return an order's status as a table of two columns."""
    payment = order["payment"] or {}
    rows = {
        "order": order["order_id"],
        "state": state(order["state"]),
        "reason": order["reason"],
        "step": progress(order) if order["seconds_left"] is not None else None,
        "address": address(order["address"]),
        "items": ", ".join(f"{item['quantity']} x {item['sku']}" for item in order["items"] or ()),
        "payment": " ".join(
            (money(payment["amount"], payment["currency"]), payment["status"]) if payment else ()
        ),
        "tracking": order["tracking_number"],
        "received": clock(order["received_at"]),
        "changed": clock(order["updated_at"]),
        "temporal": order["links"]["temporal_ui"],
    }
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table


def progress(order: Json) -> str:
    """Return the running step in a few words: its tries, its last error, the time left."""
    parts = [str(order["step"] or order["state"])]
    if order["attempts"]:
        parts.append(f"{order['attempts']} failed tries")
    if order["last_error"]:
        parts.append(f"last: {order['last_error']}")
    left = max(order["seconds_left"] or 0.0, 0.0)
    parts.append(f"{left:.1f} s left" + (" to decide" if order["decide_by"] else ""))
    return " · ".join(parts)


def event(entry: Json, began: datetime | None = None, *, named: bool = False) -> Text:
    """Return an event on one line: when (seconds since ``began``), what, and its data."""
    at = datetime.fromisoformat(entry["at"])
    when = f"{(at - began).total_seconds():8.2f} s" if began else clock(entry["at"])
    kind = entry["type"].removeprefix("order.")
    line = Text(f"{when}  ", "dim")
    if named:
        line.append(f"{entry['order_id']:<14}  ", "bold")
    line.append(f"{kind:<17}", state(kind).style)
    return line.append(f"  {_data(entry['data'])}".rstrip())


def history(document: Json) -> list[Text]:
    """Return the lines of an order's audit trail."""
    events = document["events"]
    if not events:
        return []
    began = datetime.fromisoformat(events[0]["at"])
    return [event(entry, began) for entry in events]


def _data(data: Json) -> str:
    parts = [money(data.get("amount"), data.get("currency"))]
    if "address" in data:
        parts.append(address(data["address"]))
    if "command_type" in data:
        parts.append(f"{data['command_type']}:")
    parts += [str(data[name]) for name in ("reason", "tracking_number") if data.get(name)]
    for name in ("reviewed_by", "cancelled_by", "updated_by"):
        if data.get(name):
            parts.append(f"by {data[name]}")
    return " ".join(part for part in parts if part)
