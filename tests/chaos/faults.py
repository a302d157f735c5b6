"""What is done to the service. Each fault returns when it is over and what it hit is back."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from devstack import Server
from tests.chaos.collect import forget_finished
from tests.chaos.crash_points import POINTS
from tests.chaos.evidence import DID_NOT_FIRE, Fault, Reach
from tests.chaos.links import Link, Mode
from tests.chaos.world import API, World

BACK_SECONDS: Final = 120.0
"""What was hit has to be back by then, on a machine that is very busy."""

POINT_SECONDS: Final = 12.0
"""So long a process has to get to an armed point."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of the plan: ``number`` picks among processes of a role, ``seconds`` it lasts."""

    kind: str
    number: int
    seconds: float
    pause: float


Inflict = Callable[[World, Planned], Awaitable[str]]
"""Do it, wait until it is over, return whom it hit."""


def plan(seed: int, kinds: Iterable[str]) -> list[Planned]:
    """Return every kind once in an order drawn by the seed, with its details."""
    chance = random.Random(seed)
    deck = sorted(kinds)
    chance.shuffle(deck)
    return [
        Planned(
            kind,
            chance.choice((1, 2)),
            round(chance.uniform(0.5, 1.0), 2),
            round(chance.uniform(1, 4), 1),
        )
        for kind in deck
    ]


async def inflict(world: World, planned: Planned) -> Fault:
    """Inflict one fault, and return what it was and how long it lasted.

    Raises ``TimeoutError`` when what it hit does not come back.
    """
    reach, act = KINDS[planned.kind]
    begin = datetime.now(UTC)
    async with asyncio.timeout(BACK_SECONDS):
        target = await act(world, planned)
    return Fault(planned.kind, target, reach, begin, datetime.now(UTC))


def _crash(role: str) -> Inflict:
    async def act(world: World, planned: Planned) -> str:
        label = f"{role}-{planned.number}"
        await world.roles[label].crash()
        return label

    return act


def _restart(role: str) -> Inflict:
    async def act(world: World, planned: Planned) -> str:
        label = f"{role}-{planned.number}"
        await world.roles[label].restart()
        return label

    return act


def _freeze(role: str, seconds: float) -> Inflict:
    async def act(world: World, planned: Planned) -> str:
        frozen = world.roles[f"{role}-{planned.number}"]
        await frozen.until_up()
        frozen.freeze()
        try:
            await asyncio.sleep(seconds * planned.seconds)
        finally:
            frozen.thaw()
        return frozen.label

    return act


def _crash_point(name: str) -> Inflict:
    """Whichever of the role's processes is picked dies when it next gets to the point."""

    async def act(world: World, planned: Planned) -> str:
        hit = world.roles[f"{POINTS[name].role}-{planned.number}"]
        fired = await hit.crash_at(name, POINT_SECONDS)
        return hit.label if fired else f"{hit.label} {DID_NOT_FIRE}"

    return act


async def _crash_all_workers(world: World, _planned: Planned) -> str:
    await asyncio.gather(*(world.roles[label].crash() for label in ("worker-1", "worker-2")))
    return "worker-1, worker-2"


async def _crash_ingest_in_outage(world: World, planned: Planned) -> str:
    """Temporal is away, commands are in work: now the process that has them dies."""
    label = f"ingest-{planned.number}"
    async with _away(world.stack.temporal):
        await asyncio.sleep(2 * planned.seconds)
        await world.roles[label].kill()
    await world.roles[label].until_up()
    return f"{label} while temporal is away"


async def _crash_relay_in_outage(world: World, planned: Planned) -> str:
    """Kafka is away, events wait to be sent: now the process that has read them dies."""
    label = f"relay-{planned.number}"
    async with _away(world.stack.kafka):
        await asyncio.sleep(3 * planned.seconds)
        await world.roles[label].kill()
    await world.roles[label].until_up()
    return f"{label} while kafka is away"


def _kill_server(name: str, away: float) -> Inflict:
    async def act(world: World, planned: Planned) -> str:
        async with _away(getattr(world.stack, name)):
            await asyncio.sleep(away * planned.seconds)
        return name

    return act


async def _restart_kafka(world: World, _planned: Planned) -> str:
    await world.stack.kafka.restart()
    return "kafka"


def _freeze_server(name: str, seconds: float) -> Inflict:
    async def act(world: World, planned: Planned) -> str:
        async with _frozen(getattr(world.stack, name).pid):
            await asyncio.sleep(seconds * planned.seconds)
        return name

    return act


def _link(mode: Mode, role: str, server: str, seconds: float) -> Inflict:
    """One process loses its way to a server, the others do not."""

    async def act(world: World, planned: Planned) -> str:
        link = world.links[f"{role}-{planned.number}>{server}"]
        async with _trouble([link], mode):
            await asyncio.sleep(seconds * planned.seconds)
        return link.name

    return act


async def _forget(world: World, _planned: Planned) -> str:
    """Temporal's retention is over for some that have ended: their ids are free again."""
    forgotten = await forget_finished(world.places.temporal)
    world.forgotten |= forgotten
    return f"{len(forgotten)} finished workflows"


async def _cut_api(world: World, planned: Planned) -> str:
    link = world.links.get(f"{API}>kafka")
    if link is None:
        return f"no API {DID_NOT_FIRE}"
    async with _trouble([link], Mode.CUT):
        await asyncio.sleep(4 * planned.seconds)
    return link.name


def _slow(server: str, delay: float, seconds: float) -> Inflict:
    """All ways to a server are slow, and a worker dies in the midst of it."""

    async def act(world: World, planned: Planned) -> str:
        links = [link for name, link in world.links.items() if name.endswith(server)]
        async with _trouble(links, Mode.SLOW, delay):
            await asyncio.sleep(seconds * planned.seconds)
            await world.roles[f"worker-{planned.number}"].crash()
        return f"all>{server}, worker-{planned.number}"

    return act


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


_KINDS: Final[dict[str, tuple[Reach, Inflict]]] = {
    "kill ingest": ("process", _crash("ingest")),
    "kill worker": ("process", _crash("worker")),
    "kill relay": ("process", _crash("relay")),
    "restart ingest": ("process", _restart("ingest")),
    "restart worker": ("process", _restart("worker")),
    "restart relay": ("process", _restart("relay")),
    "freeze ingest": ("process", _freeze("ingest", 14)),
    "freeze worker": ("process", _freeze("worker", 6)),
    "freeze relay": ("process", _freeze("relay", 9)),
    "kill all workers": ("outage", _crash_all_workers),
    "kill ingest in an outage": ("outage", _crash_ingest_in_outage),
    "kill relay in an outage": ("outage", _crash_relay_in_outage),
    "kill kafka": ("outage", _kill_server("kafka", 2)),
    "restart kafka": ("outage", _restart_kafka),
    "freeze kafka": ("outage", _freeze_server("kafka", 5)),
    "kill postgres": ("outage", _kill_server("postgres", 3)),
    "kill temporal": ("outage", _kill_server("temporal", 3)),
    "freeze temporal": ("outage", _freeze_server("temporal", 5)),
    "cut worker from postgres": ("process", _link(Mode.CUT, "worker", "postgres", 4)),
    "stall worker from postgres": ("process", _link(Mode.STALL, "worker", "postgres", 6)),
    "cut worker from temporal": ("process", _link(Mode.CUT, "worker", "temporal", 4)),
    "stall worker from temporal": ("process", _link(Mode.STALL, "worker", "temporal", 6)),
    "cut ingest from temporal": ("process", _link(Mode.CUT, "ingest", "temporal", 4)),
    "cut relay from postgres": ("process", _link(Mode.CUT, "relay", "postgres", 4)),
    "stall relay from postgres": ("process", _link(Mode.STALL, "relay", "postgres", 7)),
    "cut ingest from kafka": ("process", _link(Mode.CUT, "ingest", "kafka", 5)),
    "stall ingest from kafka": ("process", _link(Mode.STALL, "ingest", "kafka", 15)),
    "cut relay from kafka": ("process", _link(Mode.CUT, "relay", "kafka", 4)),
    "stall relay from kafka": ("process", _link(Mode.STALL, "relay", "kafka", 8)),
    "cut api from kafka": ("process", _cut_api),
    "temporal forgets": ("outage", _forget),
    "slow kafka": ("outage", _slow("kafka", 0.1, 4)),
    "slow postgres": ("outage", _slow("postgres", 0.1, 4)),
    "slow temporal": ("outage", _slow("temporal", 0.1, 4)),
}
_POINTS: Final[dict[str, tuple[Reach, Inflict]]] = {
    f"crash: {name}": ("process", _crash_point(name)) for name in POINTS
}
KINDS: Final = _KINDS | _POINTS
