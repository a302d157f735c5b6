"""Wait for what must become true, however slow the machine is."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(ask: Callable[[], Awaitable[T]], *, patience: float = 60, every: float = 0.1) -> T:
    """Ask until the answer is truthy and return it; fail with the last answer otherwise."""
    deadline = time.monotonic() + patience
    while True:
        answer = await ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"still {answer!r} after {patience:.0f} s: {ask!r}")
        await asyncio.sleep(every)
