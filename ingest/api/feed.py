"""The newest events of all orders, as they stand on their topic, for those who watch."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any, Final

import structlog
from aiokafka import ConsumerRecord
from pydantic_core import from_json

EVENTS_KEPT: Final = 5_000
log = structlog.get_logger(__name__)

Position = dict[int, int]
"""For each partition the offset of the next event to read."""

Kept = tuple[int, int, dict[str, Any]]
"""Partition and offset of an event, and the event."""


class Feed:
    """Keeps the last ``EVENTS_KEPT`` events; a reader says by a position where it stopped.

    Positions are offsets of the topic, so they hold in any API process and after a restart.
    An event that the relay published twice is kept once. A new process reads the last ones
    again, so that who watched through another one misses nothing.
    """

    def __init__(self) -> None:
        self._kept: deque[Kept] = deque()
        self._ids: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._ends: Position = {}
        self._newest: Position = {}
        self._more = asyncio.Event()
        self._closed = False

    @property
    def end(self) -> Position:
        """The position behind the newest event."""
        return {p: max(offset, self._newest.get(p, 0)) for p, offset in self._ends.items()}

    def begins(self, position: Position, newest: Position) -> None:
        """Note from where the topic is read, and where it ended when the reading began."""
        self._ends = dict(position)
        self._newest = dict(newest)
        self._wake()

    def event(self, record: ConsumerRecord) -> None:
        """Note a record of the topic of events."""
        self._ends[record.partition] = record.offset + 1
        try:
            name, event = _parsed(record.value or b"")
        except ValueError as error:
            place = {"partition": record.partition, "offset": record.offset}
            log.warning("not an event", **place, reason=str(error))
            return
        if name in self._ids:
            return
        self._ids[name] = None
        self._kept.append((record.partition, record.offset, event))
        if len(self._kept) > EVENTS_KEPT:
            self._kept.popleft()
            self._ids.popitem(last=False)
        self._wake()

    async def read(
        self, position: Position | None, order_id: str | None, limit: int, seconds: float
    ) -> tuple[list[dict[str, Any]], Position]:
        """Return up to ``limit`` events behind ``position``, and the position behind them.

        Without a position only what comes from now on. Waits up to ``seconds`` for an event, or
        until ``close``.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        position = position or self.end
        events = self.after(position, order_id, limit)
        while not events and not self._closed and (left := until - loop.time()) > 0:
            await self._wait(left)
            position = position or dict(self._newest)  # it was not known yet where the topic ends
            events = self.after(position, order_id, limit)
        return events, position

    def after(self, position: Position, order_id: str | None, limit: int) -> list[dict[str, Any]]:
        """Return up to ``limit`` events behind ``position``; moves ``position`` behind them."""
        found: list[dict[str, Any]] = []
        for partition, offset, event in self._behind(position):
            if order_id in (None, event["order_id"]):
                if len(found) == limit:
                    return found
                found.append(event)
            position[partition] = offset + 1
        position |= {p: max(end, position.get(p, 0)) for p, end in self._ends.items()}
        return found

    def _behind(self, position: Position) -> list[Kept]:
        """Return what is kept behind ``position``, oldest first.

        Looks from the newest back to the first one that is known, in each partition: with a
        thousand who watch, going through all that is kept for each event takes all of a core.
        """
        unread = {p for p, end in self._ends.items() if position.get(p, 0) < end}
        found: list[Kept] = []
        for kept in reversed(self._kept):
            if not unread:
                break
            partition, offset, _ = kept
            if offset < position.get(partition, 0):
                unread.discard(partition)
            else:
                found.append(kept)
        found.reverse()
        return found

    def close(self) -> None:
        """Let all go who wait, and nobody wait any more: the process ends."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    async def _wait(self, seconds: float) -> None:
        """Return when there is more to know, or after ``seconds``."""
        more = asyncio.ensure_future(self._more.wait())
        await asyncio.wait({more}, timeout=seconds)
        more.cancel()


def _parsed(value: bytes) -> tuple[tuple[str, int], dict[str, Any]]:
    """Return an event and its name; raises ``ValueError`` for what is none.

    Others may write on the topic as well. What cannot be told on as JSON, as a lone surrogate or
    NaN, is no event either.
    """
    event = from_json(value, allow_inf_nan=False)
    fields = event if isinstance(event, dict) else {}
    match fields.get("order_id"), fields.get("sequence"):
        case str(order_id), int(sequence):
            return (order_id, sequence), fields
    raise ValueError("not an object with order_id and sequence")


def position_text(position: Position) -> str:
    """Write a position as ``0-17.1-4``."""
    return ".".join(f"{partition}-{offset}" for partition, offset in sorted(position.items()))


def parse_position(text: str) -> Position:
    """Read what ``position_text`` wrote; raises ``ValueError``."""
    pairs: Iterable[list[str]] = (pair.split("-") for pair in text.split(".") if pair)
    return {int(partition): int(offset) for partition, offset in pairs}
