"""From a Kafka record to an event, or to a clear text of what is wrong with it."""

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from domain.events import EVENT, Event

CLOCK_SKEW_MS: Final = 3_600_000
"""An event that claims to be this much younger than its record is broken: it would fill the
table of minutes with minutes that never were."""

ERRORS_SHOWN: Final = 3


class BrokenEvent(Exception):
    """A record that is no event of an order; the text says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the fold needs of a Kafka record; ``timestamp`` in ms since 1970, -1: none."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def read(record: Record) -> Event:
    """Return the event in ``record``; raise ``BrokenEvent`` when there is none."""
    if record.value is None:
        raise BrokenEvent("the record has no value")
    try:
        event = EVENT.validate_json(record.value)
    except ValidationError as error:
        raise BrokenEvent(_reasons(error)) from None
    if record.key != event.order_id.encode():
        raise BrokenEvent(f"key {_text(record.key)} is not the order id {event.order_id}")
    if 0 <= record.timestamp < milliseconds(event) - CLOCK_SKEW_MS:
        raise BrokenEvent(f"at {event.at.isoformat()} lies in the record's future")
    return event


def milliseconds(event: Event) -> int:
    """Return when ``event`` happened, in ms since 1970."""
    return round(event.at.timestamp() * 1000)


def _reasons(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_context=False)
    shown = [f"{_field(d['loc'])}{d['msg']}" for d in details[:ERRORS_SHOWN]]
    more = len(details) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _field(location: tuple[int | str, ...]) -> str:
    # The first part is the name of the union's branch, that is the event's type.
    names = location[1:] if len(location) > 1 else location
    return ".".join(map(str, names)) + ": " if names else ""


def _text(key: bytes | None) -> str:
    return "(none)" if key is None else repr(key.decode("utf-8", "replace")[:80])
