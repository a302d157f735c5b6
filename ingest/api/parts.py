"""What the endpoints work with, built once by ``serve``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Final

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

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[asyncpg.Pool]:
        """Lend the pool; raises ``Unavailable`` when a read takes ``READ_SECONDS``."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                yield self.pool
        except TimeoutError:
            text = f"PostgreSQL did not answer within {READ_SECONDS:.0f} s"
            raise Unavailable(text) from None


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(_parts)]
