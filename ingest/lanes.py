"""What is in work: a FIFO lane per order id, a bound per partition, and the commit positions.

Pure: no broker, no clock, no tasks. The consumer feeds records in, runs what ``dispatch``
hands out, and reports each as finished.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from ingest.offsets import Offsets

WorkT = TypeVar("WorkT")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be in work at once.

    ``running``: handlers in the process. Per partition: ``held`` records and ``held_bytes`` of
    values in memory, ``span`` offsets between the oldest unfinished record and the newest read
    (that many may be redelivered after a crash).
    """

    running: int = 64
    held: int = 2_000
    held_bytes: int = 16 * 1_048_576
    span: int = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class Entry(Generic[WorkT]):
    """One record in work. ``gated``: it may run only when admission lets it (a start)."""

    partition: int
    offset: int
    lane: str
    gated: bool
    epoch: int
    work: WorkT


class Lanes(Generic[WorkT]):
    """Records in work, each behind its predecessors of the same lane.

    Guarantees: of one lane at most one entry runs, in the order taken; entries of other lanes
    never wait for it; no position is offered for commit beyond an unfinished record; what was
    taken before ``revoke()`` has no effect on positions afterwards.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self.epoch = 0
        self.running = 0
        self._lanes: dict[str, deque[Entry[WorkT]]] = {}
        self._ready: deque[Entry[WorkT]] = deque()
        self._gated: deque[Entry[WorkT]] = deque()
        self._partitions: dict[int, Offsets] = {}

    @property
    def waiting_starts(self) -> int:
        """How many entries stand first in their lane and wait for admission."""
        return len(self._gated)

    @property
    def count(self) -> int:
        """How many lanes there are."""
        return len(self._lanes)

    @property
    def held(self) -> int:
        """How many records are taken and not finished."""
        return sum(offsets.held for offsets in self._partitions.values())

    def take(
        self, partition: int, offset: int, lane: str, size: int, work: WorkT, *, gated: bool = False
    ) -> None:
        """Put a record at the end of its lane; one that is in work already is ignored."""
        if not self._partitions.setdefault(partition, Offsets()).take(offset, size):
            return
        entry = Entry(partition, offset, lane, gated, self.epoch, work)
        queue = self._lanes.setdefault(lane, deque())
        queue.append(entry)
        if len(queue) == 1:
            self._offer(entry)

    def dispatch(self, starts: int) -> list[Entry[WorkT]]:
        """Return the entries to run now, at most ``starts`` gated ones among them."""
        chosen: list[Entry[WorkT]] = []
        while self.running < self.bounds.running:
            if self._ready:
                chosen.append(self._ready.popleft())
            elif self._gated and starts > 0:
                chosen.append(self._gated.popleft())
                starts -= 1
            else:
                break
            self.running += 1
        return chosen

    def finish(self, entry: Entry[WorkT]) -> None:
        """Note a dispatched entry as done and let the next of its lane step up.

        An entry of an earlier epoch changes nothing.
        """
        if entry.epoch != self.epoch:
            return
        self.running -= 1
        self._partitions[entry.partition].finish(entry.offset)
        queue = self._lanes[entry.lane]
        queue.popleft()
        if queue:
            self._offer(queue[0])
        else:
            del self._lanes[entry.lane]

    def unfinished(self, partition: int) -> int | None:
        """Return the lowest unfinished offset; ``None`` when all that was taken is finished."""
        offsets = self._partitions.get(partition)
        return offsets.position if offsets and offsets.held else None

    def full(self, partition: int) -> bool:
        """Tell whether reading of a partition has to pause."""
        offsets = self._partitions.get(partition)
        return offsets is not None and (
            offsets.held >= self.bounds.held
            or offsets.held_bytes >= self.bounds.held_bytes
            or offsets.span >= self.bounds.span
        )

    def eased(self, partition: int) -> bool:
        """Tell whether a paused partition may be read again: all bounds are half free."""
        offsets = self._partitions.get(partition)
        return offsets is None or (
            offsets.held <= self.bounds.held // 2
            and offsets.held_bytes <= self.bounds.held_bytes // 2
            and offsets.span <= self.bounds.span // 2
        )

    def withdraw(self) -> None:
        """Forget what is not running yet; it stays unfinished and will be redelivered."""
        self._ready.clear()
        self._gated.clear()
        for queue in self._lanes.values():
            while len(queue) > 1:
                queue.pop()

    def revoke(self) -> None:
        """Forget everything; what still runs belongs to an epoch that is over."""
        self.epoch += 1
        self.running = 0
        self._lanes.clear()
        self._ready.clear()
        self._gated.clear()
        self._partitions.clear()

    def to_commit(self) -> dict[int, int]:
        """Return for each partition the position that is not committed yet."""
        return {
            partition: position
            for partition, offsets in self._partitions.items()
            if (position := offsets.to_commit()) is not None
        }

    def committed(self, positions: Mapping[int, int]) -> None:
        """Note what the broker acknowledged."""
        for partition, position in positions.items():
            if offsets := self._partitions.get(partition):
                offsets.committed(position)

    def _offer(self, entry: Entry[WorkT]) -> None:
        (self._gated if entry.gated else self._ready).append(entry)
