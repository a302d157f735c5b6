"""Finds the default of MAX_ORDERS_IN_MOTION: more orders at once than get through, several bounds.

    python -m bench.bounds [--rounds N] [--quick] [full|flaky ...]

For each bound a service of its own gets 300 starts at once, with partners that work and with
partners that fail. The window (``ingest/window.py``) follows what gets through, up to the bound.
"""

import asyncio
import random
from typing import Any, Final

import asyncpg

from bench.command import Options, Telling, options
from bench.faults import measure
from bench.variants import full

PART: Final = "bounds"
BOUNDS: Final = (20, 50, 100, 200, 400)
ORDERS: Final = 300
QUICK_ORDERS: Final = 40
ROUNDS: Final = 2
FAULTS: Final = {"full": "none", "flaky": "flaky"}

_PEAK: Final = """
select max(orders) from (
    select sum(case type when 'order.received' then 1 else -1 end) over (order by at) as orders
    from events where type in
    ('order.received', 'order.shipped', 'order.rejected', 'order.cancelled', 'order.failed')
) moments
"""


async def one(name: str, bound: int, orders: int, telling: Telling) -> dict[str, Any]:
    """Start a service with this bound, give it all orders, return what became of them."""
    environment = {"MAX_ORDERS_IN_MOTION": str(bound), "SIMULATED_FAULTS": FAULTS[name]}
    async with full(telling.now(f"{name} {bound}"), **environment) as variant:
        assert variant.service is not None  # noqa: S101 - it is the service
        run = await measure(variant.service, orders)
        return {**run, "peak": await _peak(variant.service.db)}


async def _peak(db: asyncpg.Connection) -> int:
    """Return how many orders were in motion at the same time."""
    peak: int = await db.fetchval(_PEAK)
    return peak


async def rounds(given: Options) -> None:
    """Measure every bound once a round, in another order each time."""
    orders = QUICK_ORDERS if given.quick else ORDERS
    with Telling(PART, given.rounds * len(given.only) * len(BOUNDS), given.directory) as telling:
        for number in range(given.rounds):
            for name in given.only:
                for bound in random.sample(BOUNDS, len(BOUNDS)):
                    run = await one(name, bound, orders, telling)
                    telling.keep(
                        {"round": number, "variant": name, "bound": bound, **run},
                        f"{name:5} {bound:3} {run['on_time']:.2%} in time, {run['rate']:.1f} "
                        f"orders/s, p99 {run['p99']:.1f} s, {run['peak']} in motion at most",
                    )


if __name__ == "__main__":
    asyncio.run(rounds(options(__doc__, PART, ROUNDS, ("full", "flaky"))))
