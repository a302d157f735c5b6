"""Measures whole orders beside two skeletons, at a concurrency of 50.

    python -m bench.orders [--rounds N] [--quick] [full|usual|best ...]

Each round measures all of them in random order, each on new servers of its own: the service from
the command on Kafka to the last event on Kafka, with partners that answer after 30 ms; and orders
without database and partners (``bench/skeletons.py``). Told are orders/s and CPU seconds an order
by process. What counts are the ratios within a round: the machine is the same then.
"""

import asyncio
import random
import statistics
import time
from dataclasses import asdict
from typing import Any, Final

from bench.command import Options, Telling, options
from bench.load import Closed
from bench.variants import VARIANTS, Variant, history_of

PART: Final = "orders"
COMPARED: Final = ("full", "usual", "best")
AT_ONCE: Final = 50
WARM_UP_SECONDS: Final = 8.0
SECONDS: Final = 15.0
ROUNDS: Final = 5
COMMITS: Final = 100
_WRITTEN: Final = "select pg_current_wal_lsn() - '0/0'::pg_lsn"
_COMMIT: Final = "select pg_logical_emit_message(true, 'bench', 'x')"


async def measure(variant: Variant, warm_up: float, seconds: float) -> dict[str, Any]:
    """Keep orders under way and return what was done and used in the time after the warm-up."""
    async with Closed(variant.one, AT_ONCE, "B") as load:
        await load.pass_time(warm_up)
        meter = await variant.meter()
        before = await _written(variant)
        done = await load.pass_time(seconds)
        usage = meter.usage()
        written = await _written(variant) - before
    return {
        "orders": done,
        "rate": done / usage.seconds,
        "cpu_an_order": usage.total / done,
        "wal_bytes_an_order": written / done,
        "commit_seconds": await _commit_seconds(variant),
        **await history_of(variant, "B-1"),
        "usage": asdict(usage),
    }


async def _written(variant: Variant) -> int:
    """Return how many bytes PostgreSQL has logged."""
    if variant.service is None:
        return 0
    return int(await variant.service.db.fetchval(_WRITTEN))


async def _commit_seconds(variant: Variant) -> float:
    """Return how long a commit takes that has nothing to do but reach the disk."""
    if variant.service is None:
        return 0.0
    taken = []
    for _ in range(COMMITS):
        began = time.perf_counter()
        await variant.service.db.execute(_COMMIT)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def rounds(given: Options) -> None:
    """Measure every variant once a round."""
    warm_up, seconds = (3.0, 5.0) if given.quick else (WARM_UP_SECONDS, SECONDS)
    with Telling(PART, given.rounds * len(given.only), given.directory) as telling:
        for number in range(given.rounds):
            for name in random.sample(given.only, len(given.only)):
                async with VARIANTS[name](telling.now(name)) as variant:
                    run = await measure(variant, warm_up, seconds)
                telling.keep(
                    {"round": number, "variant": name, **run},
                    f"{name:8} {run['rate']:6.1f} orders/s, "
                    f"{run['cpu_an_order'] * 1000:5.1f} ms CPU an order, "
                    f"{run['events']} events, {run['tasks']} workflow tasks, "
                    f"others used {run['usage']['others']:.2f} cores",
                )


if __name__ == "__main__":
    asyncio.run(rounds(options(__doc__, PART, ROUNDS, COMPARED)))
