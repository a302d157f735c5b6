"""The service's roles as real processes over the servers under test."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from domain.events import EVENT, Event
from ingest.processes import Role, running
from tests.support import kcat
from tests.support.topics import Topics
from tests.support.waiting import until


@dataclass(frozen=True)
class Service:
    """A running service with a database and topics of its own."""

    bootstrap: str
    topics: Topics
    db: asyncpg.Pool
    roles: dict[str, Role]
    environment: dict[str, str]

    async def send(self, *commands: str) -> None:
        """Put commands on the topic with kcat: no key, no headers."""
        await kcat.send(self.bootstrap, self.topics.commands, *commands)

    async def events(self, order_id: str) -> list[Event]:
        """Return the events of one order as they stand on the topic."""
        lines = await kcat.read(self.bootstrap, self.topics.events)
        events = [EVENT.validate_json(line) for line in lines]
        return [event for event in events if event.order_id == order_id]

    async def story(self, order_id: str, last: str) -> list[str]:
        """Wait until the order's newest event is ``last``; return all its types."""

        async def types() -> list[str]:
            found: list[str] = [event.type for event in await self.events(order_id)]
            return found if found and found[-1] == last else []

        return await until(types)


@contextlib.asynccontextmanager
async def running_service(
    environment: dict[str, str],
    topics: Topics,
    db: asyncpg.Pool,
    logs: Path,
    names: tuple[str, ...] = ("ingest", "worker", "relay"),
) -> AsyncIterator[Service]:
    """Start the roles; end them with the block."""
    roles = [Role(name, environment, logs / f"{name}.log", print) for name in names]
    async with running(roles):
        yield Service(
            environment["KAFKA_BOOTSTRAP_SERVERS"],
            topics,
            db,
            {role.name: role for role in roles},
            environment,
        )
