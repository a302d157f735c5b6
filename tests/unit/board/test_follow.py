"""How the tables are ended; everything else of the follower is tested over a real broker."""

import asyncio
from typing import cast

import pytest

from board.follow import Follower
from board.tables import Tables


class SlowToStop:
    """Tables that end when they are let."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = False

    def stop(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._stop())

    async def _stop(self) -> None:
        self.asked.set()
        await self.may_end.wait()
        self.ended = True


async def test_sigterm_while_they_end_for_another_reason_waits_for_their_end() -> None:
    tables, starting = SlowToStop(), asyncio.create_task(asyncio.sleep(3600))
    follower = Follower("localhost:1", "orders.events", "one")
    ending = asyncio.create_task(follower._end(cast("Tables", tables), starting))
    await tables.asked.wait()
    ending.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not ending.done()
    tables.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert tables.ended
