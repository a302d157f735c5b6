"""The fold: from the records of one partition of `orders.events` to what the board shows of it.

Pure: the same records in the same order lead to the same rows, however often some of them are
read again, and wherever the writing of the rows was cut off. That rests on three rules:

1. Every row that was written for a record carries the record's offset, and the row written last
   for it is an order's or the tally's. The highest offset in those is the position: what lies at
   or below it has been applied in full and is skipped when it comes again.
2. A minute's row, written before, is left alone by a record that it has counted already.
3. Rows are forgotten by count, not by a clock.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from board.durations import step_of
from board.record import BrokenEvent, Record, milliseconds, read
from board.rows import Broken, Minute, Order, Row, Tally, key_of, minute_key, order_key
from domain.events import (
    Approved,
    Cancelled,
    CommandRejected,
    Event,
    Failed,
    Received,
    Rejected,
    ReviewRequested,
    Validated,
    state_after,
)
from domain.states import TERMINAL, State

log = logging.getLogger(__name__)

MINUTE_MS: Final = 60_000
VALUE_SHOWN: Final = 200

Write = tuple[bytes, Row | None]
"""A row to be written under its key; ``None`` deletes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many rows a partition keeps, at least 2 each; what was touched longest ago goes first.

    Two, because the row with the highest offset, which tells the position, must not go.
    """

    ended: int = 5_000
    open: int = 50_000
    minutes: int = 90
    broken: int = 20


class View:
    """What the board knows from one partition.

    ``position`` is the offset of the last record applied, -1 before the first.
    """

    def __init__(self, partition: int, limits: Limits = Limits()) -> None:
        self.partition = partition
        self.position = -1
        self.open: dict[str, Order] = {}
        self.ended: dict[str, Order] = {}
        self.minutes: dict[int, Minute] = {}
        self.tally = Tally()
        self.broken: dict[int, Broken] = {}
        self._limits = limits

    def restore(self, rows: Iterable[Row]) -> None:
        """Take up rows written earlier, in any order."""
        orders: list[Order] = []
        for row in rows:
            if isinstance(row, Order):
                orders.append(row)
            elif isinstance(row, Minute):
                self.minutes[row.minute] = row
            elif isinstance(row, Broken):
                self.broken[row.slot] = row
            else:
                self.tally = row
        for order in sorted(orders, key=lambda order: order.offset):
            self._shelf(order)[order.order_id] = order
            self.position = order.offset
        self.position = max(self.position, self.tally.offset)

    def rows(self) -> list[Row]:
        """Return every row."""
        return [
            *self.open.values(),
            *self.ended.values(),
            *self.minutes.values(),
            *self.broken.values(),
            self.tally,
        ]

    def find(self, order_id: str) -> Order | None:
        """Return an order that is still remembered."""
        return self.open.get(order_id) or self.ended.get(order_id)

    def apply(self, record: Record) -> list[Write]:
        """Fold one record; return what has to be written, in this order, to survive a restart."""
        if record.offset <= self.position:
            return []
        self.position = record.offset
        try:
            event = read(record)
        except BrokenEvent as error:
            return self._note_broken(record, str(error))
        order = self.find(event.order_id)
        if order is None:
            return self._begin(record.offset, event)
        if event.sequence <= order.sequence:
            self.tally.repeats += 1
            return [self._tally(record.offset)]
        return self._go_on(order, record.offset, event)

    def _begin(self, offset: int, event: Event) -> list[Write]:
        if isinstance(event.data, CommandRejected):
            return []  # a command for an order that does not exist makes no order
        if not isinstance(event.data, Received):
            self.tally.unknown += 1
            return [self._tally(offset)]
        at = milliseconds(event)
        order = Order(
            event.order_id,
            event.sequence,
            offset,
            State.RECEIVED,
            started=at,
            changed=at,
            deadline=round(event.data.deadline.timestamp() * 1000),
        )
        writes = self._count(at, offset, order)
        writes += self._make_room(self.open, self._limits.open)
        self.open[order.order_id] = order
        return [*writes, self._write(order)]

    def _go_on(self, order: Order, offset: int, event: Event) -> list[Write]:
        self._shelf(order).pop(order.order_id)
        was_open = order.open
        order.missing += event.sequence - order.sequence - 1
        order.sequence, order.offset = event.sequence, offset
        _take_in(order, event)
        writes: list[Write] = []
        if was_open and not order.open and order.ended is not None:
            writes += self._count(order.ended, offset, order)
            writes += self._make_room(self.ended, self._limits.ended)
        self._shelf(order)[order.order_id] = order
        return [*writes, self._write(order)]

    def _count(self, at: int, offset: int, order: Order) -> list[Write]:
        number = at // MINUTE_MS
        minute = self.minutes.get(number)
        if minute is None:
            if len(self.minutes) >= self._limits.minutes and number < min(self.minutes):
                return []
            minute = self.minutes[number] = Minute(number)
        if minute.offset < offset:
            minute.offset = offset
            _add(minute, order)
        writes: list[Write] = [self._write(minute)]
        while len(self.minutes) > self._limits.minutes:
            oldest = min(self.minutes)
            del self.minutes[oldest]
            writes.append((minute_key(self.partition, oldest), None))
        return writes

    def _make_room(self, shelf: dict[str, Order], limit: int) -> list[Write]:
        writes: list[Write] = []
        while len(shelf) >= limit:
            order_id = next(iter(shelf))
            del shelf[order_id]
            writes.append((order_key(self.partition, order_id), None))
        return writes

    def _note_broken(self, record: Record, error: str) -> list[Write]:
        log.warning("partition %d offset %d: %s", record.partition, record.offset, error)
        broken = Broken(
            self.tally.broken % self._limits.broken,
            record.offset,
            record.timestamp,
            error[:VALUE_SHOWN],
            (record.value or b"")[:VALUE_SHOWN].decode("utf-8", "replace"),
        )
        self.broken[broken.slot] = broken
        self.tally.broken += 1
        return [self._write(broken), self._tally(record.offset)]

    def _tally(self, offset: int) -> Write:
        self.tally.offset = offset
        return self._write(self.tally)

    def _write(self, row: Row) -> Write:
        return key_of(self.partition, row), row

    def _shelf(self, order: Order) -> dict[str, Order]:
        return self.open if order.open else self.ended


def _take_in(order: Order, event: Event) -> None:
    at, data = milliseconds(event), event.data
    before = order.state
    state = event.state or state_after(before, event.type) or before
    if isinstance(data, Validated | ReviewRequested):
        order.amount, order.currency = data.amount, data.currency
    if isinstance(data, ReviewRequested):
        order.review_since, order.reason = at, data.reason
        order.decide_by = round(data.decide_by.timestamp() * 1000)
    elif isinstance(data, Approved):
        order.waited += at - (order.review_since or at)
        order.deadline, order.reason = round(data.deadline.timestamp() * 1000), None
    elif isinstance(data, Rejected | Cancelled | Failed):
        order.reason = data.reason
    if state is not before:
        order.state, order.changed = state, at
    if state in TERMINAL and order.ended is None:
        order.ended = at
        order.in_time = before is State.IN_REVIEW or at <= order.deadline


def _add(minute: Minute, order: Order) -> None:
    if order.ended is None:
        minute.started += 1
        return
    name = order.state.value
    setattr(minute, name, getattr(minute, name) + 1)
    minute.in_time += bool(order.in_time)
    minute.late += not order.in_time
    if order.state is State.SHIPPED:
        step = step_of(order.ended - order.started - order.waited)
        minute.times[step] = minute.times.get(step, 0) + 1
