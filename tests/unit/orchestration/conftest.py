"""The real workflows in the sandbox, on Temporal's test server, whose clock skips waiting.

The activities are real and write to a real PostgreSQL. After each test all histories it made
are replayed, so that every path that is tested is also known to be deterministic.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.client import WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from devstack import time_skipping_executable
from orchestration import gateways
from orchestration.contract import OrderPolicy
from orchestration.temporal_client import DATA_CONVERTER
from orchestration.worker import workers
from orchestration.workflows.order import OrderWorkflow
from orchestration.workflows.shipping import ShippingWorkflow
from tests.unit.orchestration.orders import Orders
from tests.unit.orchestration.partners import Script


@pytest.fixture(scope="module")
async def time_skipping(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[WorkflowEnvironment]:
    """Temporal's test server, a new one for each module: a task that nobody takes (an activity
    given up, a queue without a worker) keeps its clock from skipping for ever.
    """
    executable = time_skipping_executable(tmp_path_factory.mktemp("time-skipping"))
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=DATA_CONVERTER,
        test_server_existing_path=str(executable),
        test_server_startup_timeout=timedelta(seconds=120),
    ) as environment:
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
    replayer = Replayer(workflows=[OrderWorkflow, ShippingWorkflow], data_converter=DATA_CONVERTER)
    for history in await made.histories():
        if not _repeated_by_test_server(history):
            await replayer.replay_workflow(history)


def _repeated_by_test_server(history: WorkflowHistory) -> bool:
    """Tell whether a task was refused because of a signal that came meanwhile.

    The real server makes the worker forget such a task, and what comes of it replays
    (``tests/integration/orchestration/test_races.py``). This one lets the worker go on from
    memory, so that its history shows an order of things that never was.
    """
    refused = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    return any(
        event.HasField("workflow_task_failed_event_attributes")
        and event.workflow_task_failed_event_attributes.cause == refused
        for event in history.events
    )


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
        )
        async with order, shipping:
            yield
