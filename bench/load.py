"""How orders come: so many at a time, so many a second, or all at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Self

One = Callable[[str], Awaitable[None]]
"""Starts the order of this id and returns when it has ended."""


class Closed:
    """Keeps so many orders under way: when one has ended the next is started."""

    def __init__(self, one: One, at_once: int, prefix: str) -> None:
        self.done = 0
        self._one = one
        self._at_once = at_once
        self._prefix = prefix
        self._started = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._last = False

    async def __aenter__(self) -> Self:
        """Begin."""
        self._tasks = [asyncio.create_task(self._keep_on()) for _ in range(self._at_once)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Start no more, and wait until those under way have ended."""
        self._last = True
        await asyncio.gather(*self._tasks)

    async def pass_time(self, seconds: float) -> int:
        """Let it run so long, and until each has ended once more; return how many ended.

        Raises what a start raised.
        """
        before, ends = self.done, time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 or self.done < before + self._at_once:
            failed, _ = await asyncio.wait(
                self._tasks, timeout=max(left, 0.1), return_when=asyncio.FIRST_EXCEPTION
            )
            await asyncio.gather(*failed)
        return self.done - before

    async def _keep_on(self) -> None:
        while not self._last:
            self._started += 1
            await self._one(f"{self._prefix}-{self._started}")
            self.done += 1


async def at_rate(one: One, rate: float, seconds: float, prefix: str) -> dict[str, float]:
    """Start ``rate`` orders a second, whatever becomes of them, and wait until all have ended.

    Returns the seconds that each took from the moment it was due.
    """
    began = time.monotonic()
    taken: dict[str, float] = {}

    async def timed(order_id: str, due: float) -> None:
        await one(order_id)
        taken[order_id] = time.monotonic() - due

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(timed(f"{prefix}-{number}", due))
    return taken


async def all_at_once(one: One, count: int, prefix: str) -> list[str]:
    """Start so many orders at once and wait until all have ended; return their ids."""
    order_ids = [f"{prefix}-{number}" for number in range(count)]
    await asyncio.gather(*(one(order_id) for order_id in order_ids))
    return order_ids
