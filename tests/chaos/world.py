"""The service under test: servers, links to them, and the role processes behind the links."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from devstack import Endpoints, Stack, free_port
from ingest.processes import STOP_GRACE_SECONDS, Role, RoleFailed, running
from ingest.topics import create_topics
from persistence.migrate import migrate
from tests.chaos import crash_points
from tests.chaos.collect import Places
from tests.chaos.links import Link
from tests.chaos.servers import LinkedStack, kafka_link
from tests.chaos.stories import (
    EARLY_TTL_SECONDS,
    REVIEW_ABOVE,
    REVIEW_TIMEOUT_SECONDS,
    TIMEOUT_SECONDS,
)

COMMANDS: Final = "orders.commands"
EVENTS: Final = "orders.events"
DEAD_LETTERS: Final = "orders.commands-dlt"
GROUP: Final = "order-ingest"

ROLES: Final = ("ingest-1", "ingest-2", "worker-1", "worker-2", "relay-1", "relay-2", "api-1")

ADMITTED: Final = 20
"""Few, so that starts have to wait for room: after each outage, and on a slow machine."""

Say = Callable[[str], None]


class RoleProcess(Role):
    """A role that can be hurt; it comes back by itself, as under any supervisor."""

    program = ("-m", "tests.chaos.launch")

    def __init__(
        self, label: str, environment: Mapping[str, str], directory: Path, say: Say
    ) -> None:
        self.label = label
        self.log_path = directory / "logs" / f"{label}.log"
        self._armed = directory / "crash" / label
        super().__init__(
            label.partition("-")[0],
            {**environment, "CHAOS_CRASH_DIRECTORY": str(self._armed)},
            self.log_path,
            lambda text: say(f"{label}: {text.splitlines()[0]}"),
        )
        self.asked_to_end = 0
        self.bad_ends: list[str] = []
        self._up = asyncio.Event()

    async def start(self) -> None:
        """Start, and tell ``until_up``."""
        self._up.clear()
        try:
            await super().start()
        except RoleFailed as failure:
            # A server that we took away: it is up to the supervisor to try again.
            self.asked_to_end += "does not answer" in str(failure)
            raise
        self._up.set()

    async def until_up(self) -> None:
        """Wait until the process says that it is ready."""
        await self._up.wait()

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and does nothing."""
        self._running().signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._running().signal(signal.SIGCONT)

    async def crash(self) -> None:
        """SIGKILL, and wait until it has been started again."""
        await self.kill()
        await self.until_up()

    async def kill(self) -> None:
        """SIGKILL; it is started again, and ready when what it needs is there."""
        await self._end(signal.SIGKILL)

    async def crash_at(self, point: str, patience: float) -> bool:
        """Let it die at a named point; ``False`` when it does not get there in time."""
        await self.until_up()
        child = self._running()
        armed = crash_points.arm(self._armed, point)
        try:
            async with asyncio.timeout(patience):
                await child.wait()
        except TimeoutError:
            with contextlib.suppress(FileNotFoundError):
                armed.unlink()
                return False
            await child.wait()  # it was about to
        self._up.clear()
        self.asked_to_end += 1
        await self.until_up()
        return True

    async def restart(self) -> None:
        """SIGTERM, which has to end it with code 0, and wait until it has been started again."""
        code = await self._end(signal.SIGTERM)
        await self.until_up()
        if code != 0:
            self.bad_ends.append(f"{self.label}: ended with code {code} after SIGTERM")

    async def stop(self) -> None:
        """End it for good; it has to end with code 0 by itself."""
        if self._child is not None and (code := await self._child.terminate(STOP_GRACE_SECONDS)):
            self.bad_ends.append(f"{self.label}: ended with code {code} after the last SIGTERM")

    async def _end(self, number: int) -> int:
        await self.until_up()
        child = self._running()
        self._up.clear()
        self.asked_to_end += 1
        child.signal(number)
        return await child.wait()

    def unexpected(self) -> list[str]:
        """Return what it did that nobody asked for."""
        more = self.restarts - self.asked_to_end
        by_itself = [f"{self.label}: ended by itself {more} times"] if more else []
        return [*self.bad_ends, *by_itself, *_complaints(self.label, self.log_path)]


@dataclass(slots=True)
class World:
    """All that can be hurt. ``links`` are named ``role>server``; see ``Evidence.forgotten``."""

    stack: Stack
    roles: dict[str, RoleProcess]
    links: dict[str, Link]
    places: Places
    api_url: str
    forgotten: set[str] = field(default_factory=set)


@contextlib.asynccontextmanager
async def running_world(directory: Path, say: Say, bug: str | None) -> AsyncIterator[World]:
    """Start everything; ends everything with the block. ``bug``: the one planted in all roles."""
    taken: set[int] = set()
    async with AsyncExitStack() as exits:
        kafka_links = dict(kafka_link(label, taken) for label in ROLES)
        for link in kafka_links.values():
            await exits.enter_async_context(link)
        stack = await exits.enter_async_context(LinkedStack(directory, say, kafka_links))
        endpoints = stack.endpoints
        await migrate(endpoints.db_url)
        await create_topics(endpoints.kafka_bootstrap, COMMANDS, EVENTS, DEAD_LETTERS)
        links = {link.name: link for link in kafka_links.values()}
        roles: dict[str, RoleProcess] = {}
        port = free_port(taken)
        for label in ROLES:
            for server, at in (("postgres", stack.postgres), ("temporal", stack.temporal)):
                link = Link(f"{label}>{server}", "127.0.0.1", at.port)
                links[link.name] = await exits.enter_async_context(link)
            environment = _environment(endpoints, label, links, port)
            if bug:
                environment["CHAOS_BUG"] = bug
            roles[label] = RoleProcess(label, environment, directory, say)
        await exits.enter_async_context(running(list(roles.values())))
        yield World(stack, roles, links, _places(endpoints), f"http://127.0.0.1:{port}")


def _environment(
    endpoints: Endpoints, label: str, links: Mapping[str, Link], api_port: int
) -> dict[str, str]:
    url = urlsplit(endpoints.db_url)
    through = url._replace(netloc=f"{url.username}@127.0.0.1:{links[f'{label}>postgres'].port}")
    return {
        **endpoints.as_env(),
        "DB_URL": urlunsplit(through),
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{links[f'{label}>kafka'].port}",
        "TEMPORAL_PORT": str(links[f"{label}>temporal"].port),
        "COMMANDS_TOPIC": COMMANDS,
        "EVENTS_TOPIC": EVENTS,
        "DEAD_LETTER_TOPIC": DEAD_LETTERS,
        "KAFKA_GROUP_ID": GROUP,
        "API_PORT": str(api_port),
        "API_URL": f"http://127.0.0.1:{api_port}",
        "WORKFLOW_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        "MAX_ORDERS_IN_MOTION": str(ADMITTED),
        "EARLY_COMMAND_TTL_SECONDS": str(EARLY_TTL_SECONDS),
        "REVIEW_POLICY": "above",
        "REVIEW_ABOVE": str(REVIEW_ABOVE),
        "REVIEW_TIMEOUT_SECONDS": str(REVIEW_TIMEOUT_SECONDS),
        "SIMULATED_FAULTS": "flaky",
        "LOG_FORMAT": "json",
        "PYTHONPATH": str(Path.cwd()),
    }


def _places(endpoints: Endpoints) -> Places:
    return Places(
        db_url=endpoints.db_url,
        bootstrap=endpoints.kafka_bootstrap,
        temporal=f"{endpoints.temporal_host}:{endpoints.temporal_port}",
        commands_topic=COMMANDS,
        events_topic=EVENTS,
        dead_letter_topic=DEAD_LETTERS,
        group_id=GROUP,
    )


_COMPLAINTS: Final = ("Task was destroyed", "never retrieved", "never awaited", "Unclosed")


def _complaints(label: str, log: Path) -> list[str]:
    if not log.exists():
        return []
    lines = log.read_text(errors="replace").splitlines()
    found = [
        line
        for line in lines
        if line.startswith("Traceback") or any(text in line for text in _COMPLAINTS)
    ]
    return [f"{label}: {len(found)} complaints in {log}: {found[0][:300]}"] if found else []
