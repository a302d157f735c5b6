"""How times, money and states are written for people."""

from datetime import UTC, datetime
from typing import Final

from domain.states import State

COLOURS: Final[dict[str, str]] = {
    State.SHIPPED: "positive",
    State.FAILED: "negative",
    State.CANCELLED: "grey-7",
    State.REJECTED: "deep-orange-9",
    State.IN_REVIEW: "purple",
    State.DISPATCH_FAILED: "orange-10",
    State.REFUNDED: "orange-10",
}
"""Quasar colours; every other state is on its way."""

ON_ITS_WAY: Final = "primary"
NOTHING: Final = "-"


def colour(state: str | None) -> str:
    """Return the colour of a state."""
    return COLOURS.get(state or "", ON_ITS_WAY)


def words(name: str | None) -> str:
    """Return a state's or an event's name as words."""
    return (name or "").removeprefix("order.").replace("_", " ")


def span(milliseconds: float) -> str:
    """Return a duration with two units at most, as ``40 ms``, ``3.2 s``, ``4 min 5 s``."""
    sign = "-" if milliseconds < 0 else ""
    seconds = abs(milliseconds) / 1000
    if 0 < seconds < 1:
        return f"{sign}{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{sign}{seconds:.1f} s"
    whole = int(seconds)
    for size, unit, smaller, name in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{sign}{whole // size} {unit} {whole % size // smaller} {name}"
    return f"{sign}{whole} s"


def money(amount: int | None, currency: str | None) -> str:
    """Return an amount of minor units; all currencies are written with two decimals."""
    return (
        "" if amount is None else f"{amount // 100:,}.{amount % 100:02d} {currency or ''}".strip()
    )


def share(value: float | None) -> str:
    """Return a share as percent; 99.96 is not told as 100."""
    if value is None:
        return NOTHING
    percent = value * 100
    return "100 %" if value == 1 else f"{min(percent, 99.9):.1f} %"


def seconds(value: float | None) -> str:
    """Return a duration in seconds, or a dash."""
    return NOTHING if value is None else span(value * 1000)


def clock(milliseconds: int) -> str:
    """Return the time of day in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%H:%M:%S")


def date_and_time(text: str) -> str:
    """Return what the API wrote as a moment for people, or as it is when it is none."""
    try:
        return moment(text).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return text


def moment(text: str) -> datetime:
    """Return the moment that the API wrote."""
    return datetime.fromisoformat(text)
