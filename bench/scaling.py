"""Writes docs/scaling.md: what it takes for more orders, worked out from what was measured.

    python -m bench.scaling

Every number is a measured one, or stands with the arithmetic that makes it of measured ones.
"""

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.data import KEPT, Run, load
from bench.tables import machines, table

FILE: Final = Path("docs/scaling.md")
RATES: Final = (100, 1_000, 10_000)
EVENTS: Final = 6
"""Events of an order that ships."""
COMMITS: Final = 7
"""Transactions of an order that ships: one for each event, one for the intent to charge."""
FULL: Final = 0.6
"""How busy a core is planned to be: the rest is for bursts and for the loss of one in three."""
SHARD_FULL: Final = 0.1
"""How busy a lock is planned to be that orders wait for: at a tenth the wait is small."""
POWERS: Final = (512, 1024, 2048, 4096, 8192, 16384)


@dataclass(frozen=True, slots=True)
class Costs:
    """What one order costs, as measured.

    ``cpu``: ms an order with 50 under way. ``further``, ``idle``: of the line through what was used
    at all offered loads, its slope in ms for each further order, and cores without any order.
    """

    cpu: dict[str, float]
    further: dict[str, float]
    idle: dict[str, float]
    wal_bytes: float
    history_bytes: float
    transitions: float
    events: float
    commit_seconds: float
    relay_events_a_second: float

    @classmethod
    def measured(cls, runs: list[Run], relay: list[Run], offered: list[Run]) -> "Costs":
        """Take the medians; raises ``SystemExit`` when nothing was measured."""
        runs = [run for run in runs if run["variant"] == "full" and "transitions" in run]
        if not runs:
            raise SystemExit("nothing measured yet: make bench PART=orders")
        names = [name for name in runs[0]["usage"]["cpu"] if name != "bench"]

        def middle(figure: str) -> float:
            return float(statistics.median(run[figure] for run in runs))

        lines = {name: line(offered, name) for name in names}
        drained = [run["rate"] for run in relay if run["variant"] == "relay"]
        return cls(
            cpu={
                name: statistics.median(
                    run["usage"]["cpu"][name] / run["orders"] * 1000 for run in runs
                )
                for name in names
            },
            further={name: slope for name, (slope, _) in lines.items()},
            idle={name: idle for name, (_, idle) in lines.items()},
            wal_bytes=middle("wal_bytes_an_order"),
            history_bytes=middle("history_bytes"),
            transitions=middle("transitions"),
            events=middle("events"),
            commit_seconds=middle("commit_seconds"),
            relay_events_a_second=statistics.median(drained),
        )


def line(offered: list[Run], name: str) -> tuple[float, float]:
    """Return what each further order costs a process (ms), and the cores it uses without any.

    The straight line of least squares through the cores used at each rate of orders done.
    """
    runs = [run for run in offered if run["variant"] == "full"]
    fit = statistics.linear_regression(
        [run["rate"] for run in runs],
        [run["usage"]["cpu"][name] / run["usage"]["seconds"] for run in runs],
    )
    return fit.slope * 1000, fit.intercept


def commits_a_second(runs: list[Run], form: str) -> float:
    """Return the commits/s of one PostgreSQL with as many writers as were tried."""
    most = max(run["writers"] for run in runs)
    return float(
        statistics.median(
            run["rate"] for run in runs if (run["writers"], run["form"]) == (most, form)
        )
    )


def cores(milliseconds: float, rate: int) -> float:
    """Return the cores that so many orders a second take, planned at ``FULL``."""
    return rate * milliseconds / 1000 / FULL


def history_shards(costs: Costs, rate: int) -> int:
    """Return Temporal's history shards: each writes one thing at a time, a commit long."""
    busy = rate * costs.transitions * costs.commit_seconds
    return next((power for power in POWERS if power >= busy / SHARD_FULL), POWERS[-1])


def partitions(processes: int) -> int:
    """Return the partitions for so many consumers: twice as many, so that they can grow."""
    return max(4, 1 << math.ceil(math.log2(2 * processes)))


def needs(costs: Costs, commits: list[Run], rate: int) -> dict[str, Any]:
    """Return what so many orders a second need."""
    databases = {
        form: math.ceil(rate * COMMITS / (commits_a_second(commits, form) * FULL))
        for form in ("after", "silent")
    }
    ingest, worker = (math.ceil(cores(costs.cpu[n], rate)) for n in ("ingest", "worker"))
    relay = math.ceil(rate * EVENTS / (costs.relay_events_a_second * FULL))
    return {
        "ingest processes": ingest,
        "partitions of each topic": partitions(ingest),
        "worker processes": worker,
        "relays, and at least as many shards of the outbox": relay,
        "cores for the Temporal servers": math.ceil(cores(costs.cpu["Temporal server"], rate)),
        "Temporal history shards": history_shards(costs, rate),
        "cores for PostgreSQL": math.ceil(cores(costs.cpu["PostgreSQL"], rate)),
        "commits/s in PostgreSQL": f"{rate * COMMITS:,}",
        "PostgreSQL servers like the one measured": databases["after"],
        "the same if nothing woke the relay": databases["silent"],
        "PostgreSQL's log, MB/s": f"{rate * costs.wal_bytes / 1e6:,.1f}",
        "new event rows a day, million": f"{rate * EVENTS * 86_400 / 1e6:,.0f}",
        "cores for Kafka": math.ceil(cores(costs.cpu["Kafka"], rate)),
        "events/s on Kafka": f"{rate * EVENTS:,}",
        "Temporal histories, GB a day kept": f"{rate * costs.history_bytes * 86_400 / 1e9:,.0f}",
    }


_TEMPLATE: Final = Path(__file__).with_name("scaling.template.md")


def text(directory: Path) -> str:
    """Return the document, worked out from what ``directory`` has."""
    orders = load(directory, "orders")
    costs = Costs.measured(orders, load(directory, "relay"), load(directory, "offered"))
    commits = load(directory, "commits")
    cpu, total = costs.cpu, sum(v for name, v in costs.cpu.items() if name != "partners' books")
    rows = [
        [
            name,
            f"{value:.1f}",
            f"{value / total:.0%}",
            f"{costs.further[name]:.1f}",
            f"{max(0.0, costs.idle[name]) * 100:.1f}",
        ]
        for name, value in cpu.items()
    ]
    extra = [
        ["PostgreSQL's log", f"{costs.wal_bytes / 1000:.1f} kB"],
        ["Temporal's histories", f"{costs.history_bytes / 1000:.1f} kB"],
        ["writes of Temporal to its database", f"{costs.transitions:.0f}"],
        ["a commit that only reaches the disk", f"{costs.commit_seconds * 1000:.2f} ms"],
    ]
    found = {rate: needs(costs, commits, rate) for rate in RATES}
    kinds = list(found[RATES[0]])
    relay = costs.relay_events_a_second
    return _TEMPLATE.read_text().format(
        cores=machines([*orders, *commits, *load(directory, "relay"), *load(directory, "offered")]),
        events=costs.events,
        event_count=EVENTS,
        commits=COMMITS,
        costs=table(
            ["", "CPU ms, 50 under way", "of all CPU", "ms each further", "% of a core, idle"], rows
        ),
        extra=table(["an order", ""], extra),
        ingest=cpu["ingest"],
        worker=cpu["worker"],
        relay=cpu["relay"],
        ingest_full=1000 / cpu["ingest"],
        worker_full=1000 / cpu["worker"],
        relay_full=1000 / cpu["relay"],
        relay_events=relay,
        relay_orders=relay / EVENTS,
        total=total,
        total_s=total / 1000,
        most=2000 / total,
        temporal_share=cpu["Temporal server"] / total,
        full=FULL,
        shard_full=SHARD_FULL,
        relay_limit=4 * relay / EVENTS * FULL,
        commit_ms=costs.commit_seconds * 1000,
        commit_s=costs.commit_seconds,
        transitions=costs.transitions,
        after=commits_a_second(commits, "after"),
        within=commits_a_second(commits, "within"),
        silent=commits_a_second(commits, "silent"),
        after_orders=commits_a_second(commits, "after") / COMMITS,
        writers=max(run["writers"] for run in commits),
        needs=table(
            ["orders/s", *(f"{rate:,}" for rate in RATES)],
            [[kind, *(found[rate][kind] for rate in RATES)] for kind in kinds],
        ),
    )


if __name__ == "__main__":
    FILE.write_text(text(KEPT))
    print(FILE)
