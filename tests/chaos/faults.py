"""How each fault is done. It returns whom it hit when it is over and what it hit is back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from devstack import Server
from tests.chaos.collect import forget_finished
from tests.chaos.crash_points import POINTS
from tests.chaos.evidence import DID_NOT_FIRE
from tests.chaos.links import Link, Mode
from tests.chaos.world import RoleProcess, World

POINT_SECONDS: Final = 12.0
"""So long a process has to get to an armed point."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of the plan.

    ``number`` picks among the processes of a role; ``seconds`` is the part of its full length
    that the fault lasts; ``pause`` follows it.
    """

    kind: str
    number: int
    seconds: float
    pause: float


Inflict = Callable[[World, Planned], Awaitable[str]]
"""Do it, wait until it is over, return whom it hit."""


def crash(role: str) -> Inflict:
    """SIGKILL one process of a role."""

    async def act(world: World, planned: Planned) -> str:
        hit = _one_of(world, role, planned)
        await hit.crash()
        return hit.label

    return act


def restart(role: str) -> Inflict:
    """SIGTERM one process of a role, which has to end cleanly."""

    async def act(world: World, planned: Planned) -> str:
        hit = _one_of(world, role, planned)
        await hit.restart()
        return hit.label

    return act


def freeze(role: str, seconds: float) -> Inflict:
    """SIGSTOP one process of a role for a while."""

    async def act(world: World, planned: Planned) -> str:
        hit = _one_of(world, role, planned)
        await hit.until_up()
        hit.freeze()
        try:
            await asyncio.sleep(seconds * planned.seconds)
        finally:
            hit.thaw()
        return hit.label

    return act


def _one_of(world: World, role: str, planned: Planned) -> RoleProcess:
    """Return the process that the plan picks, where there is more than one."""
    return world.roles.get(f"{role}-{planned.number}") or world.roles[f"{role}-1"]


def crash_point(name: str) -> Inflict:
    """Whichever of the role's processes is picked dies when it next gets to the point."""

    async def act(world: World, planned: Planned) -> str:
        hit = _one_of(world, POINTS[name].role, planned)
        fired = await hit.crash_at(name, POINT_SECONDS)
        return hit.label if fired else f"{hit.label} {DID_NOT_FIRE}"

    return act


async def crash_all_workers(world: World, _planned: Planned) -> str:
    await asyncio.gather(*(world.roles[label].crash() for label in ("worker-1", "worker-2")))
    return "worker-1, worker-2"


async def crash_ingest_in_outage(world: World, planned: Planned) -> str:
    """Temporal is away, commands are in work: now the process that has them dies."""
    label = f"ingest-{planned.number}"
    async with _away(world.stack.temporal):
        await asyncio.sleep(2 * planned.seconds)
        await world.roles[label].kill()
    await world.roles[label].until_up()
    return f"{label} while temporal is away"


async def crash_relay_in_outage(world: World, planned: Planned) -> str:
    """Kafka is away, events wait to be sent: now the process that has read them dies."""
    label = f"relay-{planned.number}"
    async with _away(world.stack.kafka):
        await asyncio.sleep(3 * planned.seconds)
        await world.roles[label].kill()
    await world.roles[label].until_up()
    return f"{label} while kafka is away"


def kill_server(name: str, away: float) -> Inflict:
    async def act(world: World, planned: Planned) -> str:
        async with _away(getattr(world.stack, name)):
            await asyncio.sleep(away * planned.seconds)
        return name

    return act


async def restart_kafka(world: World, _planned: Planned) -> str:
    await world.stack.kafka.restart()
    return "kafka"


def freeze_server(name: str, seconds: float) -> Inflict:
    async def act(world: World, planned: Planned) -> str:
        async with _frozen(getattr(world.stack, name).pid):
            await asyncio.sleep(seconds * planned.seconds)
        return name

    return act


def one_link(mode: Mode, role: str, server: str, seconds: float) -> Inflict:
    """One process loses its way to a server, the others do not."""

    async def act(world: World, planned: Planned) -> str:
        link = world.links[f"{_one_of(world, role, planned).label}>{server}"]
        async with _trouble([link], mode):
            await asyncio.sleep(seconds * planned.seconds)
        return link.name

    return act


def all_links(mode: Mode, server: str, seconds: float) -> Inflict:
    """A server runs, but nobody gets to it."""

    async def act(world: World, planned: Planned) -> str:
        async with _trouble(_links_to(world, server), mode):
            await asyncio.sleep(seconds * planned.seconds)
        return f"all>{server}"

    return act


def slow(server: str, delay: float, seconds: float) -> Inflict:
    """All ways to a server are slow, and a worker dies in the midst of it."""

    async def act(world: World, planned: Planned) -> str:
        worker = _one_of(world, "worker", planned)
        async with _trouble(_links_to(world, server), Mode.SLOW, delay):
            await asyncio.sleep(seconds * planned.seconds)
            await worker.crash()
        return f"all>{server}, {worker.label}"

    return act


async def forget(world: World, _planned: Planned) -> str:
    """Temporal's retention is over for some that have ended: their ids are free again."""
    forgotten = await forget_finished(world.places.temporal)
    world.forgotten |= forgotten
    return f"{len(forgotten)} finished workflows"


def _links_to(world: World, server: str) -> list[Link]:
    return [link for name, link in world.links.items() if name.endswith(f">{server}")]


@asynccontextmanager
async def _away(server: Server) -> AsyncIterator[None]:
    await server.kill()
    try:
        yield
    finally:
        await server.start()


@asynccontextmanager
async def _frozen(pid: int) -> AsyncIterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _trouble(links: list[Link], mode: Mode, delay: float = 0.0) -> AsyncIterator[None]:
    for link in links:
        link.set(mode, delay)
    try:
        yield
    finally:
        for link in links:
            link.set(Mode.PASS)
