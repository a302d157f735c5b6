"""What the endpoints work with, built once by ``serve``."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

import asyncpg
from fastapi import Depends, Request

from domain.errors import Unavailable
from ingest.api.feed import Feed
from ingest.api.letters import Letters
from ingest.api.live import Live
from ingest.api.metrics import Metrics
from ingest.api.outcomes import Outcomes
from ingest.api.publisher import Publisher
from ingest.api.sightings import Sightings
from ingest.settings import Settings

ResultT = TypeVar("ResultT")
READ_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Parts:
    """The real adapters behind the endpoints."""

    pool: asyncpg.Pool
    publisher: Publisher
    outcomes: Outcomes
    sightings: Sightings
    feed: Feed
    live: Live
    temporal_ui: str
    settings: Settings
    letters: Letters
    metrics: Metrics = field(default_factory=Metrics)

    async def read(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Return what a read returns; raises ``Unavailable`` when it takes ``READ_SECONDS``."""
        try:
            return await within(READ_SECONDS, work)
        except TimeoutError:
            text = f"PostgreSQL did not answer within {READ_SECONDS:.0f} s"
            raise Unavailable(text) from None


async def within(seconds: float, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Return what ``work`` returns; raises ``TimeoutError`` after ``seconds``.

    What takes longer is cancelled, and its end is not waited for: a query to a server that hangs
    gives its connection back only after many seconds more.
    """
    task = asyncio.ensure_future(work)
    _left.add(task)
    task.add_done_callback(_end)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()


_left: set[asyncio.Task[Any]] = set()
"""What runs, so that it is not lost while nobody waits for it."""


def _end(task: asyncio.Task[Any]) -> None:
    _left.discard(task)
    if not task.cancelled():
        task.exception()  # whoever waited has it; whoever gave up does not want it


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(_parts)]
