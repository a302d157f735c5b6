"""Measures how many orders are shipped in time at full load, with partners that work and that fail.

    python -m bench.faults [--rounds N] [--quick] [full|flaky ...]

500 starts at a time are put on Kafka at once, four times, so that the service is as busy as it lets
itself be. With ``flaky`` each partner call raises with probability 0.33 and hangs with 0.34. The
money is counted in the partners' own books.
"""

import asyncio
import random
import time
from dataclasses import asdict
from typing import Final

from bench.command import Options, Telling, options
from bench.load import all_at_once
from bench.outcomes import outcomes_of
from bench.service import Service
from bench.variants import VARIANTS

PART: Final = "faults"
ORDERS: Final = 500
QUICK_ORDERS: Final = 100
ROUNDS: Final = 4


async def measure(service: Service, orders: int) -> dict[str, object]:
    """Start all at once and return what became of them, and what it cost."""
    await all_at_once(service.order, 20, "W")
    meter = await service.meter()
    began = time.monotonic()
    order_ids = await all_at_once(service.order, orders, "F")
    seconds, usage = time.monotonic() - began, meter.usage()
    outcomes = await outcomes_of(service.db, order_ids)
    return {
        **outcomes.as_json(),
        "rate": orders / seconds,
        "cpu_an_order": usage.total / orders,
        "usage": asdict(usage),
    }


async def rounds(given: Options) -> None:
    """Measure with and without faults once a round."""
    orders = QUICK_ORDERS if given.quick else ORDERS
    with Telling(PART, given.rounds * len(given.only), given.directory) as telling:
        for number in range(given.rounds):
            for name in random.sample(given.only, len(given.only)):
                async with VARIANTS[name](telling.now(name)) as variant:
                    assert variant.service is not None  # noqa: S101 - both are the service
                    run = await measure(variant.service, orders)
                telling.keep(
                    {"round": number, "variant": name, **run},
                    f"{name:5} {run['shipped']} of {run['orders']} shipped, "
                    f"{run['on_time']:.2%} in time, {run['rate']:.1f} orders/s, "
                    f"p50 {run['p50']:.1f} s, p99 {run['p99']:.1f} s, {run['money']}",
                )


if __name__ == "__main__":
    asyncio.run(rounds(options(__doc__, PART, ROUNDS, ("full", "flaky"))))
