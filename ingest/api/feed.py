"""The newest events of all orders, as they stand on their topic, for those who watch."""

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any, Final

import structlog
from aiokafka import ConsumerRecord

EVENTS_KEPT: Final = 5_000
log = structlog.get_logger(__name__)

Position = dict[int, int]
"""For each partition the offset of the next event to read."""


class Feed:
    """Keeps the last ``EVENTS_KEPT`` events; a reader says by a position where it stopped.

    Positions are offsets of the topic, so they hold in any API process and after a restart.
    An event that the relay published twice is kept once. A new process reads the last ones
    again, so that who watched through another one misses nothing.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[int, int, dict[str, Any]]] = deque()
        self._ids: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._ends: Position = {}
        self._newest: Position = {}
        self._more = asyncio.Event()

    @property
    def end(self) -> Position:
        """The position behind the newest event."""
        return {p: max(offset, self._newest.get(p, 0)) for p, offset in self._ends.items()}

    def begins(self, position: Position, newest: Position) -> None:
        """Note from where the topic is read, and where it ended when the reading began."""
        self._ends = dict(position)
        self._newest = dict(newest)

    def event(self, record: ConsumerRecord) -> None:
        """Note a record of the topic of events."""
        self._ends[record.partition] = record.offset + 1
        try:
            event = json.loads(record.value or b"")
            name = (event["order_id"], event["sequence"])
        except (ValueError, TypeError, KeyError):
            log.warning("not an event", partition=record.partition, offset=record.offset)
            return
        if name in self._ids:
            return
        self._ids[name] = None
        self._kept.append((record.partition, record.offset, event))
        if len(self._kept) > EVENTS_KEPT:
            self._kept.popleft()
            self._ids.popitem(last=False)
        self._more.set()
        self._more = asyncio.Event()

    def after(self, position: Position, order_id: str | None, limit: int) -> list[dict[str, Any]]:
        """Return up to ``limit`` events behind ``position``; moves ``position`` behind them."""
        found: list[dict[str, Any]] = []
        for partition, offset, event in self._kept:
            if offset < position.get(partition, 0):
                continue
            if order_id in (None, event["order_id"]):
                if len(found) == limit:
                    return found
                found.append(event)
            position[partition] = offset + 1
        position |= {p: max(end, position.get(p, 0)) for p, end in self._ends.items()}
        return found

    async def wait(self, seconds: float) -> None:
        """Return when an event has come, or after ``seconds``."""
        more = asyncio.ensure_future(self._more.wait())
        await asyncio.wait({more}, timeout=seconds)
        more.cancel()


def position_text(position: Position) -> str:
    """Write a position as ``0-17.1-4``."""
    return ".".join(f"{partition}-{offset}" for partition, offset in sorted(position.items()))


def parse_position(text: str) -> Position:
    """Read what ``position_text`` wrote; raises ``ValueError``."""
    pairs: Iterable[list[str]] = (pair.split("-") for pair in text.split(".") if pair)
    return {int(partition): int(offset) for partition, offset in pairs}
