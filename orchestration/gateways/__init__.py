"""The partners an order needs, one file each: the port, its HTTP adapter, its simulation.

In the simulation some values say no, so that every road can be walked by hand: an item with
sku ``UNKNOWN`` is refused by screening, an amount of 6666 is declined by the bank, and to zip
``00000`` no carrier delivers.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from orchestration import timing
from orchestration.gateways.carrier import Carrier, HttpCarrier, SimulatedCarrier
from orchestration.gateways.payments import HttpPayments, Payments, SimulatedPayments
from orchestration.gateways.sales import HttpSales, Sales, SimulatedSales
from orchestration.gateways.screening import HttpScreening, Screening, SimulatedScreening
from orchestration.gateways.simulation import Faults, Ledger
from orchestration.gateways.warehouse import HttpWarehouse, SimulatedWarehouse, Warehouse
from persistence.pool import open_pool

__all__ = ["Faults", "Gateways", "Urls", "http", "simulated"]


@dataclass(frozen=True, slots=True)
class Gateways:
    """All partners of an order."""

    sales: Sales
    screening: Screening
    payments: Payments
    warehouse: Warehouse
    carrier: Carrier


@dataclass(frozen=True, slots=True)
class Urls:
    """Where each partner is reached by HTTP."""

    sales: str
    screening: str
    payments: str
    warehouse: str
    carrier: str


@asynccontextmanager
async def simulated(db_url: str, faults: Faults, seed: int) -> AsyncIterator[Gateways]:
    """Simulate all partners; their books stand in ``db_url``, in a schema of their own.

    ``seed`` decides which calls fail. Raises ``Unavailable`` when PostgreSQL does not answer.
    """
    pool = await open_pool(db_url, "partners", size=6)
    try:
        ledger = Ledger(pool)
        await ledger.create()
        chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        yield Gateways(
            sales=SimulatedSales(ledger, faults, chance),
            screening=SimulatedScreening(ledger, faults, chance),
            payments=SimulatedPayments(ledger, faults, chance),
            warehouse=SimulatedWarehouse(ledger, faults, chance),
            carrier=SimulatedCarrier(ledger, faults, chance),
        )
    finally:
        await pool.close()


@asynccontextmanager
async def http(urls: Urls) -> AsyncIterator[Gateways]:
    """Reach all partners by HTTP."""
    limits = httpx.Limits(max_connections=500, max_keepalive_connections=100)
    async with httpx.AsyncClient(timeout=timing.ATTEMPT_TIMEOUT_MAX * 2, limits=limits) as client:
        yield Gateways(
            sales=HttpSales(client, urls.sales),
            screening=HttpScreening(client, urls.screening),
            payments=HttpPayments(client, urls.payments),
            warehouse=HttpWarehouse(client, urls.warehouse),
            carrier=HttpCarrier(client, urls.carrier),
        )
