"""The role ``api``: the application behind uvicorn, its connections beside it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from ingest.api import tail
from ingest.api.app import create_app
from ingest.api.feed import EVENTS_KEPT, Feed, Position
from ingest.api.letters import Letters
from ingest.api.live import Live
from ingest.api.outcomes import Outcomes
from ingest.api.parts import Parts
from ingest.api.publisher import Publisher
from ingest.api.sightings import Sightings
from ingest.program import Ready, open_database
from ingest.settings import Settings
from ingest.web import WebServer, listening

DATABASE_CONNECTIONS: Final = 8
GRACE_SECONDS: Final = 10


async def serve(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Answer requests until ``stop``; then finish the open ones and return.

    Starts without Kafka and Temporal and finds them when they come. Raises ``CannotStart``
    without PostgreSQL, and ``OrderError`` when the address is taken; a background task that
    dies takes the process down.
    """
    remedy = "set API_HOST or API_PORT"
    with listening(settings.api_host, settings.api_port, remedy) as sock:
        async with _parts(settings) as parts:
            server = WebServer(create_app(parts), GRACE_SECONDS, ready)
            serving = asyncio.create_task(server.serve(sockets=[sock]))
            stopping = asyncio.create_task(stop.wait())
            broken = asyncio.create_task(_run(parts, settings))
            await asyncio.wait({serving, stopping, broken}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            # Who waits is answered with what is known: uvicorn would answer 500 after its grace.
            parts.outcomes.close()
            parts.feed.close()
            await serving
            stopping.cancel()
            broken.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
            with suppress(asyncio.CancelledError):
                await broken


@asynccontextmanager
async def _parts(settings: Settings) -> AsyncIterator[Parts]:
    pool = await open_database(settings, "api", DATABASE_CONNECTIONS)
    outcomes = Outcomes(pool)
    namespace = settings.temporal_namespace
    parts = Parts(
        pool=pool,
        publisher=Publisher(settings.kafka_bootstrap_servers, settings.commands_topic),
        outcomes=outcomes,
        sightings=Sightings(on_dead_letter=outcomes.wake),
        feed=Feed(),
        live=Live(settings.temporal_host, settings.temporal_port, namespace),
        temporal_ui=f"{settings.temporal_ui_url}/namespaces/{namespace}/workflows/",
        settings=settings,
        letters=Letters(),
    )
    try:
        yield parts
    finally:
        await parts.live.close()
        await pool.close()


async def _run(parts: Parts, settings: Settings) -> None:
    """Keep the connections; raises what a part of it died of."""
    servers = settings.kafka_bootstrap_servers
    unfinished = tail.unfinished(servers, settings.kafka_group_id)

    async def newest(consumer: AIOKafkaConsumer) -> tail.Positions:
        ends, begins = await tail.end(consumer), await tail.beginning(consumer)
        back = EVENTS_KEPT // len(ends)
        positions = {place: max(begins[place], end - back) for place, end in ends.items()}
        parts.feed.begins(_offsets(positions), _offsets(ends))
        return positions

    def dead(record: ConsumerRecord) -> None:
        parts.sightings.dead_letter(record)
        parts.letters.note(record)

    sightings, event = parts.sightings, parts.feed.event
    async with asyncio.TaskGroup() as group:
        for task in (
            parts.publisher.run(),
            parts.outcomes.run(),
            parts.live.run(),
            tail.follow(servers, settings.commands_topic, unfinished, sightings.command),
            tail.follow(servers, settings.dead_letter_topic, tail.beginning, dead),
            tail.follow(servers, settings.events_topic, newest, event),
        ):
            group.create_task(task)


def _offsets(positions: tail.Positions) -> Position:
    return {place.partition: offset for place, offset in positions.items()}
