"""Measures what an order costs when many are stored already, or wait for a person.

    python -m bench.stored [--rounds N] [--quick] [0|100000|1000000|review ...]

Each round takes the sizes in random order, each on a new service. ``review``: 10,000 orders wait
for a reviewer, as workflows that are open in Temporal; each has to be driven there first, which
takes some minutes. The others are rows only, as after months of work, when Temporal has forgotten
them.
"""

import asyncio
import random
from typing import Any, Final

from bench.command import Options, Telling, options
from bench.million_orders import fill
from bench.orders import measure
from bench.service import DEAR, Service
from bench.variants import VARIANTS

PART: Final = "stored"
SIZES: Final = ("0", "100000", "1000000", "review")
WAITING: Final = 10_000
ROUNDS: Final = 2
TOLD: Final = 1_000
_WAITING: Final = "select count(*) from orders where state = 'in_review'"


async def prepare(service: Service, size: str, waiting: int) -> None:
    """Fill the database, or have orders wait for a person."""
    if size != "review":
        if int(size):
            await fill(service.local.settings.db_url, int(size), under_way=False)
        return
    for number in range(waiting):
        await service.send(f"R-{number}", **DEAR)
    told = 0
    while (found := await service.db.fetchval(_WAITING)) < waiting:
        if found >= told + TOLD:
            told = found
            print(f"  {found:,} of {waiting:,} wait for a reviewer", flush=True)
        await asyncio.sleep(0.5)


async def rounds(given: Options) -> None:
    """Measure every size once a round."""
    warm_up, seconds = (2.0, 4.0) if given.quick else (8.0, 15.0)
    sizes = tuple(size for size in given.only if not given.quick or size in ("0", "review"))
    with Telling(PART, given.rounds * len(sizes), given.directory) as telling:
        for number in range(given.rounds):
            for size in random.sample(sizes, len(sizes)):
                waiting = 0 if size != "review" else 100 if given.quick else WAITING
                async with VARIANTS["full"](telling.now(size)) as variant:
                    assert variant.service is not None  # noqa: S101 - full is the service
                    await prepare(variant.service, size, waiting)
                    run: dict[str, Any] = await measure(variant, warm_up, seconds)
                telling.keep(
                    {"round": number, "size": size, "waiting": waiting, **run},
                    f"{size:>8} stored: {run['rate']:6.1f} orders/s, "
                    f"{run['cpu_an_order'] * 1000:5.1f} ms CPU an order",
                )


if __name__ == "__main__":
    asyncio.run(rounds(options(__doc__, PART, ROUNDS, SIZES)))
