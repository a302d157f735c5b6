"""How many orders may be in motion on a machine whose speed nobody knows: found out by trying.

Pure: no clock, no database. What it guards is the orders' own deadline: with a fixed bound, a
machine that does 4 orders/s would take 50 s for 200 of them and ship few in time.
"""

from typing import Final

FIRST: Final = 16
LEAST: Final = 4
SLOW_SHARE: Final = 0.1
"""So many of those in motion may be slow; failing partners alone make fewer of them slow."""
FULL_SHARE: Final = 0.5
"""What is used less says nothing about what a larger window would do."""
GROWTH: Final = 0.5
"""By how much the window grows for each order that has ended."""
SHRINK: Final = 0.7
SHRINK_EVERY_SECONDS: Final = 2.0
"""A smaller window needs a moment before it can be seen to be small enough."""


class Window:
    """Grows with what ends while orders are quick, shrinks while they are slow."""

    def __init__(self, most: int, first: int = FIRST) -> None:
        self.most = most
        self._size = float(min(first, most))
        self._shrunk_at = float("-inf")

    @property
    def size(self) -> int:
        """How many orders may be in motion, at most ``most``."""
        return int(self._size)

    def adjust(self, in_motion: int, slow: int, ended: int, now: float) -> None:
        """Take note of how things stand at ``now`` (seconds) and of what has ended since."""
        if slow > SLOW_SHARE * in_motion:
            if now - self._shrunk_at >= SHRINK_EVERY_SECONDS:
                self._size = max(self._size * SHRINK, min(LEAST, self.most))
                self._shrunk_at = now
        elif in_motion + ended >= FULL_SHARE * self._size:
            self._size = min(self._size + GROWTH * max(ended, 0), self.most)
