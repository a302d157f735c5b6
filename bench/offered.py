"""Measures what becomes of orders as more and more come, up to twice what the machine can do.

    python -m bench.offered [--rounds N] [--quick] [full|flaky|usual|best ...]

First the service is kept busy with 50 orders at a time: what it does then is called 1. Shares of
that rate are offered, each for 12 s and to the last order's end, to the service, with partners
that work and that fail, and to the skeletons.
"""

import asyncio
import time
from dataclasses import asdict
from typing import Any, Final

from bench.command import Options, Telling, options
from bench.data import load
from bench.load import Closed, at_rate
from bench.outcomes import outcomes_of, percentile
from bench.variants import VARIANTS, Variant

PART: Final = "offered"
SHARES: Final = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
SECONDS: Final = 12.0
LIMIT: Final = 15.0
ROUNDS: Final = 1


async def capacity(variant: Variant, warm_up: float, seconds: float) -> float:
    """Return the orders/s with 50 under way."""
    async with Closed(variant.one, 50, "C") as orders:
        await orders.pass_time(warm_up)
        began = time.monotonic()
        done = await orders.pass_time(seconds)
        return done / (time.monotonic() - began)


async def measure(variant: Variant, rate: float, seconds: float, prefix: str) -> dict[str, Any]:
    """Offer so many orders a second; return what became of them and what they cost."""
    meter = await variant.meter()
    taken = await at_rate(variant.one, rate, seconds, prefix)
    usage = meter.usage()
    whole = list(taken.values())
    run = {
        "orders": len(taken),
        "rate": len(taken) / usage.seconds,
        "from_due_p50": percentile(whole, 0.5),
        "from_due_p99": percentile(whole, 0.99),
        "cpu_an_order": usage.total / len(taken),
        "usage": asdict(usage),
    }
    if variant.service is None:
        in_time = sum(seconds <= LIMIT for seconds in whole) / len(whole)
        return {**run, "on_time": in_time, "p50": run["from_due_p50"], "p99": run["from_due_p99"]}
    return {**run, **(await outcomes_of(variant.service.db, list(taken))).as_json()}


async def offer(name: str, given: Options, telling: Telling) -> None:
    """Measure one variant at all shares of the known capacity, or find that first."""
    seconds = 4.0 if given.quick else SECONDS
    shares = (0.5, 2.0) if given.quick else SHARES
    known = [run["capacity"] for run in load(given.directory, PART)]
    async with VARIANTS[name](telling.now(name)) as variant:
        one = await capacity(variant, seconds / 2, seconds / 2)
        of_service = known[0] if known else one
        for share in shares:
            run = await measure(variant, of_service * share, seconds, f"O{share}")
            telling.keep(
                {"variant": name, "capacity": of_service, "own": one, "share": share, **run},
                f"{name:6} {of_service * share:5.1f} orders/s offered, {run['rate']:5.1f} done, "
                f"{run['on_time']:.2%} in time, p50 {run['p50']:.2f} s, p99 {run['p99']:.2f} s, "
                f"{run['cpu_an_order'] * 1000:.0f} ms CPU an order",
            )


async def rounds(given: Options) -> None:
    """Measure every variant once a round."""
    steps = 2 if given.quick else len(SHARES)
    with Telling(PART, given.rounds * len(given.only) * steps, given.directory) as telling:
        for _ in range(given.rounds):
            for name in given.only:
                await offer(name, given, telling)


if __name__ == "__main__":
    asyncio.run(rounds(options(__doc__, PART, ROUNDS, ("full", "flaky", "best", "usual"))))
