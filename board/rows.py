"""The rows of the table, and how they are written: one JSON array each, under a readable key.

A key is ``{partition}/{kind}/{name}``; all rows of a partition of `orders.events` stand in the
partition of the same number of the table's changelog.
"""

import json
from dataclasses import dataclass, field, fields
from typing import Final

from domain.states import TERMINAL, State

SCHEMA: Final = 1
"""Part of the changelog's name: raise it when a row's fields change, and the table is rebuilt."""


@dataclass(slots=True)
class Order:
    """One order. Times in ms since 1970; ``offset`` is that of its last event that counted."""

    order_id: str
    sequence: int
    offset: int
    state: State
    started: int
    changed: int
    deadline: int
    ended: int | None = None
    in_time: bool | None = None
    review_since: int | None = None
    decide_by: int | None = None
    waited: int = 0
    amount: int | None = None
    currency: str | None = None
    reason: str | None = None
    missing: int = 0

    @property
    def open(self) -> bool:
        """Whether the order has not come to an end."""
        return self.state not in TERMINAL

    @property
    def waits_for_person(self) -> bool:
        """Whether a reviewer is asked; the deadline stands still meanwhile."""
        return self.state is State.IN_REVIEW


@dataclass(slots=True)
class Minute:
    """What happened in one minute; ``offset`` is that of the last event counted in it.

    ``times`` counts the shipped orders by the step of their time to ship (see ``durations``).
    """

    minute: int
    offset: int = -1
    started: int = 0
    shipped: int = 0
    failed: int = 0
    cancelled: int = 0
    rejected: int = 0
    in_time: int = 0
    late: int = 0
    times: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """Records that changed no order: repeats, broken ones, events of orders not on the board."""

    offset: int = -1
    repeats: int = 0
    broken: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Broken:
    """One of the last broken records: where it stands, what is wrong, how it begins."""

    slot: int
    offset: int
    timestamp: int
    error: str
    value: str


Row = Order | Minute | Tally | Broken
_KINDS: Final[dict[str, type[Row]]] = {"o": Order, "m": Minute, "t": Tally, "b": Broken}
_FIELDS: Final = {kind: tuple(f.name for f in fields(kind)) for kind in _KINDS.values()}


def key_of(partition: int, row: Row) -> bytes:
    """Return the key under which ``row`` stands."""
    if isinstance(row, Order):
        return order_key(partition, row.order_id)
    if isinstance(row, Minute):
        return minute_key(partition, row.minute)
    if isinstance(row, Broken):
        return f"{partition}/b/{row.slot}".encode()
    return f"{partition}/t/".encode()


def order_key(partition: int, order_id: str) -> bytes:
    """Return the key of an order's row."""
    return f"{partition}/o/{order_id}".encode()


def minute_key(partition: int, minute: int) -> bytes:
    """Return the key of a minute's row."""
    return f"{partition}/m/{minute}".encode()


def encode(row: Row) -> bytes:
    """Return the row's value."""
    values = [getattr(row, name) for name in _FIELDS[type(row)]]
    if isinstance(row, Minute):
        values[-1] = list(row.times.items())
    return json.dumps(values, separators=(",", ":")).encode()


def decode(key: bytes, value: bytes) -> tuple[int, Row]:
    """Return partition and row; the inverse of ``key_of`` and ``encode``."""
    partition, kind, _ = key.decode().split("/", 2)
    values = json.loads(value)
    if kind == "m":
        values[-1] = dict(values[-1])
    row = _KINDS[kind](*values)
    if isinstance(row, Order):
        row.state = State(row.state)
    return int(partition), row
