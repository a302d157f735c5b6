"""Which fault follows which: every seed deals from all families in turn."""

import asyncio
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tests.chaos import faults
from tests.chaos.crash_points import POINTS
from tests.chaos.evidence import Fault, Reach
from tests.chaos.faults import Inflict, Planned
from tests.chaos.links import Mode
from tests.chaos.world import World

BACK_SECONDS: Final = 120.0
"""What was hit has to be back by then, on a machine that is very busy."""


@dataclass(frozen=True, slots=True)
class Kind:
    """``family``: of each, some happen in every run that means something."""

    family: str
    reach: Reach
    inflict: Inflict


def _hits_one(family: str, named: dict[str, Inflict]) -> dict[str, Kind]:
    return {name: Kind(family, "process", inflict) for name, inflict in named.items()}


def _hits_all(family: str, named: dict[str, Inflict]) -> dict[str, Kind]:
    return {name: Kind(family, "outage", inflict) for name, inflict in named.items()}


KINDS: Final[dict[str, Kind]] = {
    **_hits_one(
        "processes killed",
        {f"kill {role}": faults.crash(role) for role in ("ingest", "relay", "api")},
    ),
    # By itself, so that no run is without: it is what "goes on" looks at.
    **_hits_one("workers killed", {"kill worker": faults.crash("worker")}),
    **_hits_one(
        "processes restarted",
        {f"restart {role}": faults.restart(role) for role in ("ingest", "worker", "relay", "api")},
    ),
    **_hits_one(
        "processes frozen",
        {
            "freeze ingest": faults.freeze("ingest", 14),
            "freeze worker": faults.freeze("worker", 6),
            "freeze relay": faults.freeze("relay", 14),
            "freeze api": faults.freeze("api", 6),
        },
    ),
    **_hits_all(
        "kafka away",
        {
            "kill kafka": faults.kill_server("kafka", 2),
            "restart kafka": faults.restart_kafka,
            "freeze kafka": faults.freeze_server("kafka", 5),
            "kill relay in an outage": faults.crash_relay_in_outage,
        },
    ),
    **_hits_all(
        "postgres away",
        {
            "kill postgres": faults.kill_server("postgres", 3),
            "stall postgres": faults.all_links(Mode.STALL, "postgres", 5),
        },
    ),
    **_hits_all(
        "temporal away",
        {
            "kill temporal": faults.kill_server("temporal", 3),
            "freeze temporal": faults.freeze_server("temporal", 5),
            "kill ingest in an outage": faults.crash_ingest_in_outage,
        },
    ),
    **_hits_all(
        "slow links and worse",
        {
            "slow kafka": faults.slow("kafka", 0.1, 4),
            "slow postgres": faults.slow("postgres", 0.1, 4),
            "slow temporal": faults.slow("temporal", 0.1, 4),
            "kill all workers": faults.crash_all_workers,
            "temporal forgets": faults.forget,
        },
    ),
    **_hits_one(
        "links cut or stalled",
        {
            "cut worker from postgres": faults.one_link(Mode.CUT, "worker", "postgres", 4),
            "stall worker from postgres": faults.one_link(Mode.STALL, "worker", "postgres", 6),
            "cut worker from temporal": faults.one_link(Mode.CUT, "worker", "temporal", 4),
            "stall worker from temporal": faults.one_link(Mode.STALL, "worker", "temporal", 6),
            "cut ingest from temporal": faults.one_link(Mode.CUT, "ingest", "temporal", 4),
            "stall ingest from temporal": faults.one_link(Mode.STALL, "ingest", "temporal", 6),
            "stall ingest from postgres": faults.one_link(Mode.STALL, "ingest", "postgres", 6),
            "cut ingest from kafka": faults.one_link(Mode.CUT, "ingest", "kafka", 5),
            "stall ingest from kafka": faults.one_link(Mode.STALL, "ingest", "kafka", 15),
            "cut relay from postgres": faults.one_link(Mode.CUT, "relay", "postgres", 4),
            "stall relay from postgres": faults.one_link(Mode.STALL, "relay", "postgres", 7),
            "cut relay from kafka": faults.one_link(Mode.CUT, "relay", "kafka", 4),
            "stall relay from kafka": faults.one_link(Mode.STALL, "relay", "kafka", 8),
            "cut api from kafka": faults.one_link(Mode.CUT, "api", "kafka", 4),
        },
    ),
    **_hits_one("crash points", {f"crash: {name}": faults.crash_point(name) for name in POINTS}),
}


def plan(seed: int, kinds: Iterable[str]) -> Iterator[Planned]:
    """Yield faults without end: each round has one of every family, in an order of its own.

    Outages come last in a round, so that between them there is time in which orders have to be
    decided in time. A family's kinds come in an order drawn by the seed, each once before any
    comes again.
    """
    chance = random.Random(seed)
    outages = {kind.family for kind in KINDS.values() if kind.reach == "outage"}
    families: dict[str, list[str]] = {}
    for kind in sorted(kinds):
        families.setdefault(KINDS[kind].family, []).append(kind)
    decks: dict[str, list[str]] = {family: [] for family in families}
    while True:
        drawn = chance.sample(sorted(families), len(families))
        for family in sorted(drawn, key=outages.__contains__):
            deck = decks[family]
            if not deck:
                deck += chance.sample(families[family], len(families[family]))
            yield Planned(
                kind=deck.pop(),
                number=chance.choice((1, 2)),
                seconds=round(chance.uniform(0.5, 1.0), 2),
                pause=round(chance.uniform(1, 4), 1),
            )


async def inflict(world: World, planned: Planned) -> Fault:
    """Inflict one fault, and return what it was and how long it lasted.

    Raises ``TimeoutError`` when what it hit does not come back.
    """
    kind = KINDS[planned.kind]
    begin = datetime.now(UTC)
    async with asyncio.timeout(BACK_SECONDS):
        target = await kind.inflict(world, planned)
    return Fault(planned.kind, kind.family, target, kind.reach, begin, datetime.now(UTC))
