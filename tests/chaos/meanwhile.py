"""Something that goes on while something else is done."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine


@contextlib.asynccontextmanager
async def meanwhile(*watching: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run coroutines that never end until the block does; raises what any of them raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in watching]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
