"""Keeps the driver at a rate the machine can hold: chaos is about faults, not about overload."""

import asyncio
import contextlib
import time
from typing import Final

import asyncpg

from tests.chaos.ledger import Ledger

MOST_IN_MOTION: Final = 60
"""Orders under way and commands without an outcome. Well above what is admitted at once
(``world.ADMITTED``), so that some have to wait after an outage; not so many that a slow machine
works on them for minutes."""
LOOK_EVERY_SECONDS: Final = 1.0

_COUNT: Final = """
select (select count(*) from events where command_id is not null) as outcomes,
       (select count(*) from orders
        where state not in ('shipped', 'rejected', 'cancelled', 'failed')) as open_orders
"""


class Pace:
    """Says when another story may begin."""

    def __init__(self, db_url: str, ledger: Ledger) -> None:
        self._db_url = db_url
        self._ledger = ledger
        self._room = asyncio.Event()
        self._room.set()

    async def room(self, ends: float) -> None:
        """Return when there is room for another story, or time is up."""
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._room.wait(), max(0.0, ends - began))
        self._ledger.held_seconds += time.monotonic() - began

    async def watch(self) -> None:
        """Look on and on how much is in motion; while nobody can tell, all stays as it was."""
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(self._db_url, timeout=5)
                try:
                    await self._watch(connection)
                finally:
                    connection.terminate()
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _watch(self, connection: asyncpg.Connection) -> None:
        while True:
            (counts,) = await connection.fetch(_COUNT, timeout=5)
            waiting = len(self._ledger.due()) - counts["outcomes"]
            if waiting + counts["open_orders"] < MOST_IN_MOTION:
                self._room.set()
            else:
                self._room.clear()
            await asyncio.sleep(LOOK_EVERY_SECONDS)
