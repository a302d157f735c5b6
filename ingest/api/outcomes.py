"""What became of commands: asked once for all who wait."""

import asyncio
from collections import defaultdict
from typing import Final

import asyncpg
import structlog

from domain.errors import Unavailable
from persistence.queries import Outcome, outcomes_of

POLL_SECONDS: Final = 0.05
AWAY_SECONDS: Final = 1.0
log = structlog.get_logger(__name__)


class Outcomes:
    """Finds the outcome of a command, and waits for it: one query for all that are waited for."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._wanted = asyncio.Event()
        self._closed = False

    async def find(self, command_id: str) -> list[Outcome]:
        """Return what a command id caused, for each order; raises ``Unavailable``."""
        return await outcomes_of(self._pool, [command_id])

    async def wait(self, command_id: str, seconds: float) -> None:
        """Return when there is an outcome of ``command_id``, after ``seconds``, or at ``close``."""
        if self._closed:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[command_id]
        waiting.add(future)
        self._wanted.set()
        try:
            await asyncio.wait({future}, timeout=seconds)
        finally:
            waiting.discard(future)
            if not waiting:
                self._waiting.pop(command_id, None)

    async def run(self) -> None:
        """Ask for as long as somebody waits, until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                for outcome in await outcomes_of(self._pool, list(self._waiting)):
                    self.wake(outcome.command_id)
            except Unavailable as error:
                log.warning("waiting", server="PostgreSQL", reason=str(error))
                await asyncio.sleep(AWAY_SECONDS)
            if not self._waiting:
                self._wanted.clear()
            await asyncio.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Let all go who wait, and nobody wait any more: the process ends."""
        self._closed = True
        for command_id in list(self._waiting):
            self.wake(command_id)

    def wake(self, command_id: str) -> None:
        """Let those go who wait for ``command_id``."""
        for future in self._waiting.get(command_id, ()):
            if not future.done():
                future.set_result(None)
