"""The whole service on one machine: servers, schema, topics and roles, started and ended as one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devstack import Ports, Stack
from ingest.processes import Role, running
from ingest.settings import Settings
from ingest.topics import create_topics
from persistence.migrate import migrate

CORE: Final = ("ingest", "worker", "relay")
"""The roles that drive an order."""


@dataclass(frozen=True, slots=True)
class LocalService:
    """A running service; ``variables`` are the settings that lead others to its parts."""

    variables: Mapping[str, str]
    settings: Settings
    roles: Mapping[str, Role]
    stack: Stack
    _supervisor: asyncio.Task[None]

    async def failed(self) -> str:
        """Wait until a server dies, and say which and why."""
        server = asyncio.ensure_future(self.stack.wait_failed())
        try:
            await asyncio.wait({server, self._supervisor}, return_when=asyncio.FIRST_COMPLETED)
            if self._supervisor.done():
                self._supervisor.result()
            return server.result()
        finally:
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)


@contextlib.asynccontextmanager
async def local_service(
    directory: Path,
    ports: Ports | Callable[[Callable[[str], None]], Ports],
    say: Callable[[str], None],
    environment: Mapping[str, str],
    names: Sequence[str] = CORE,
    *,
    persistent: bool,
) -> AsyncIterator[LocalService]:
    """Start the servers and the roles ``names``; the block runs when all are ready.

    ``directory`` keeps logs, and data where ``persistent``. ``environment`` overrides the roles'
    settings. Leaving the block ends everything. A killed parent leaves no process behind, and
    what was acknowledged is there at the next start.
    """
    async with Stack(directory, ports, say, persistent) as stack:
        variables = {**stack.endpoints.as_env(), **environment}
        settings = Settings.model_validate(
            {name.lower(): value for name, value in variables.items()}
        )
        await asyncio.gather(
            migrate(settings.db_url),
            create_topics(
                settings.kafka_bootstrap_servers,
                settings.commands_topic,
                settings.events_topic,
                settings.dead_letter_topic,
            ),
        )
        say("schema and topics ready")
        logs = directory / "logs"
        logs.mkdir(exist_ok=True)
        roles = [Role(name, variables, logs / f"{name}.log", say) for name in names]
        async with running(roles) as supervisor:
            yield LocalService(
                variables, settings, {role.name: role for role in roles}, stack, supervisor
            )
