"""Which offset of a partition may be committed: only the lowest that is not finished."""


class Offsets:
    """The offsets of one partition that were taken and are not finished yet.

    Offsets need not be contiguous: transaction markers and compaction leave gaps.
    """

    def __init__(self) -> None:
        self._unfinished: dict[int, int] = {}  # offset -> bytes
        self._next: int | None = None
        self._committed: int | None = None
        self.held_bytes = 0

    @property
    def held(self) -> int:
        """How many records are taken and not finished."""
        return len(self._unfinished)

    @property
    def span(self) -> int:
        """How far reading is ahead of what may be committed: what a crash would redeliver."""
        position = self.position
        return 0 if position is None or self._next is None else self._next - position

    @property
    def position(self) -> int | None:
        """The offset from which a successor has to read; ``None`` before the first record."""
        # An unclean election can set a partition back, so the first key need not be the lowest.
        return min(self._unfinished) if self._unfinished else self._next

    def take(self, offset: int, size: int) -> bool:
        """Note a record of ``size`` bytes as begun; ``False`` when it is in work already."""
        if offset in self._unfinished:
            return False
        self._unfinished[offset] = size
        self.held_bytes += size
        self._next = offset + 1
        return True

    def finish(self, offset: int) -> None:
        """Note a record as finished."""
        self.held_bytes -= self._unfinished.pop(offset)

    def to_commit(self) -> int | None:
        """Return the position when it differs from what was committed last, else ``None``."""
        position = self.position
        return None if position == self._committed else position

    def committed(self, position: int) -> None:
        """Note that the broker has acknowledged a commit of ``position``."""
        self._committed = position
