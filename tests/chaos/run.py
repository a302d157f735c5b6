"""One run: load and faults side by side, time to settle, evidence."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
from aiokafka.errors import KafkaError
from temporalio.service import RPCError

from tests.chaos.collect import collect, unsettled, watch_topic
from tests.chaos.driver import Driver
from tests.chaos.evidence import Evidence
from tests.chaos.machine import watch_clock, watch_cores
from tests.chaos.meanwhile import meanwhile
from tests.chaos.pace import Pace
from tests.chaos.plan import KINDS, inflict, plan
from tests.chaos.stories import stories
from tests.chaos.world import World, running_world

SETTLE_SECONDS: Final = 120.0
"""Nothing may stand still so long. Longer than anything an order may wait for, with reviews and
early commands shortened."""
SETTLE_MOST_SECONDS: Final = 600.0
"""For a backlog that shrinks, on a machine that is very busy."""
WARM_UP_SHARE: Final = 0.1
"""Of the load's time, before the first fault: how it goes when all is calm."""
TELL_EVERY_SECONDS: Final = 15.0
LOOKS: Final = 10
"""In vain, until it is no longer put down to the machine that a server does not answer."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to run.

    ``kinds``: the faults to choose from; ``stories``: the only ones to be told, none: all;
    ``bug``: a planted bug, or none.
    """

    seed: int
    minutes: float
    rate: float
    directory: Path
    kinds: tuple[str, ...] = tuple(KINDS)
    bug: str | None = None
    stories: tuple[str, ...] = ()
    settle_seconds: float = SETTLE_SECONDS


async def run(options: Options, say: Callable[[str], None]) -> Evidence:
    """Run it all and return what is left."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that Kafka is away is our doing
    evidence = Evidence()
    async with running_world(options.directory, say, options.bug) as world:
        places = world.places
        at = (places.bootstrap, places.commands_topic, world.api_url)
        async with Driver(*at, options.rate) as driver:
            evidence.ledger = driver.ledger
            async with meanwhile(
                watch_clock(evidence.stalls),
                watch_cores(evidence.loads),
                watch_topic(places.bootstrap, places.events_topic, evidence.seen),
            ):
                await _trouble_under_load(world, driver, options, evidence, say)
                await _settle(world, options.settle_seconds, say)
        await collect(places, evidence)
        evidence.forgotten = world.forgotten
        roles = list(world.roles.values())
    # Only now: that every process ends cleanly is looked at as well.
    evidence.unexpected += [text for role in roles for text in role.unexpected()]
    return evidence


async def _trouble_under_load(
    world: World,
    driver: Driver,
    options: Options,
    evidence: Evidence,
    say: Callable[[str], None],
) -> None:
    ends = time.monotonic() + options.minutes * 60
    pace = Pace(world.places.db_url, driver.ledger)
    chance = random.Random(options.seed)
    async with meanwhile(_tell(driver, ends, say), pace.watch()), asyncio.TaskGroup() as group:
        told = stories(options.seed, options.stories)
        group.create_task(driver.play(told, ends, chance, pace))
        group.create_task(_break(world, options, ends, evidence, say))


async def _break(
    world: World,
    options: Options,
    ends: float,
    evidence: Evidence,
    say: Callable[[str], None],
) -> None:
    """Inflict one fault after the other, until time is up or something does not come back."""
    await asyncio.sleep(WARM_UP_SHARE * options.minutes * 60)
    for planned in plan(options.seed, options.kinds):
        if time.monotonic() > ends:
            return
        say(f"fault: {planned.kind}")
        try:
            evidence.faults.append(await inflict(world, planned))
        except TimeoutError:
            evidence.unexpected.append(f"{planned.kind}: what it hit did not come back")
            return
        await asyncio.sleep(planned.pause)


async def _tell(driver: Driver, ends: float, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(TELL_EVERY_SECONDS)
        acknowledged = len(driver.ledger.acknowledged)
        left = max(0, ends - time.monotonic())
        say(f"... {acknowledged} commands acknowledged, {left:.0f} s of load left")


async def _left(world: World) -> dict[str, int]:
    """Return what is still in motion; a server too busy to tell is asked again."""
    for _ in range(LOOKS):
        try:
            return await unsettled(world.places)
        except (OSError, KafkaError, RPCError, asyncpg.PostgresError):
            await asyncio.sleep(3)
    return await unsettled(world.places)


async def _settle(world: World, seconds: float, say: Callable[[str], None]) -> None:
    """Wait until nothing is in motion any more; give up when for ``seconds`` nothing got less."""
    gives_up = time.monotonic() + SETTLE_MOST_SECONDS
    until, least = 0.0, 0
    while left := await _left(world):
        what = ", ".join(f"{count} {name}" for name, count in left.items())
        if not until or sum(left.values()) < least:
            until, least = time.monotonic() + seconds, sum(left.values())
        if time.monotonic() > min(until, gives_up):
            say(f"not settled: {what}")
            return
        say(f"settling: {what}")
        await asyncio.sleep(3)
