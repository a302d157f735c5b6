"""The real workflows, as in production, on the shared real servers."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from devstack import Endpoints
from orchestration import gateways
from orchestration.contract import OrderPolicy
from orchestration.temporal_client import connect
from orchestration.worker import workers
from tests.unit.orchestration.orders import Orders
from tests.unit.orchestration.partners import Script


@pytest.fixture
async def unserved(endpoints: Endpoints, db: asyncpg.Pool, unique: Callable[[str], str]) -> Orders:
    """Orders without a worker."""
    client = await connect(endpoints.temporal_host, endpoints.temporal_port, "default")
    policy = OrderPolicy(shipping_task_queue=unique("shipping"))
    return Orders(client, db, unique("order"), policy, Script())


@pytest.fixture
async def orders(unserved: Orders, db_url: str) -> AsyncIterator[Orders]:
    """Orders with both workers, unsandboxed, in this process."""
    async with gateways.simulated(db_url, gateways.Faults.NONE, seed=0) as simulated:
        order, shipping = workers(
            unserved.client,
            unserved.db,
            unserved.script.direct(simulated),
            unserved.task_queue,
            unserved.policy.shipping_task_queue,
        )
        async with order, shipping:
            yield unserved
