"""The real workflows in the sandbox, on Temporal's test server, whose clock skips waiting.

The activities are real and write to a real PostgreSQL. After each test all histories it made
are replayed, so that every path that is tested is also known to be deterministic.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from orchestration import gateways
from orchestration.contract import OrderPolicy
from orchestration.worker import workers
from tests.support.skipping import skipping_server
from tests.unit.orchestration.orders import Orders
from tests.unit.orchestration.partners import Script


@pytest.fixture(scope="module")
async def time_skipping(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[WorkflowEnvironment]:
    """Temporal's test server, a new one for each module."""
    async with skipping_server(tmp_path_factory.mktemp("time-skipping")) as environment:
        yield environment


@pytest.fixture
async def orders(
    time_skipping: WorkflowEnvironment,
    db_url: str,
    db: asyncpg.Pool,
    unique: Callable[[str], str],
) -> AsyncIterator[Orders]:
    """Orders with two minutes each; ``orders.policy`` and ``orders.script`` may be changed."""
    policy = OrderPolicy(timeout_seconds=120, shipping_task_queue=unique("shipping"))
    made = Orders(
        time_skipping.client,
        db,
        unique("order"),
        policy,
        Script(),
        time_skipping.time_skipping_unlocked,  # type: ignore[attr-defined]
    )
    async with serving(made, db_url):
        yield made
    await made.replay()


@asynccontextmanager
async def serving(orders: Orders, db_url: str) -> AsyncIterator[None]:
    """Run both workers, sandboxed."""
    async with gateways.simulated(db_url, gateways.Faults.NONE, seed=0) as simulated:
        order, shipping = workers(
            orders.client,
            orders.db,
            orders.script.direct(simulated),
            orders.task_queue,
            orders.policy.shipping_task_queue,
            SandboxedWorkflowRunner(),
            # This server accepts the end of a workflow in words and refuses it in the history when
            # a signal came meanwhile: the worker, which is not told, would go on from its memory.
            cached=0,
        )
        async with order, shipping:
            yield
