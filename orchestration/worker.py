"""The worker process: both task queues, until it is told to stop."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import asyncpg
import structlog
from temporalio.client import Client
from temporalio.worker import (
    PollerBehaviorAutoscaling,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowRunner,
)

from domain.errors import Unavailable
from orchestration import timing
from orchestration.activities.failures import ErrorTree
from orchestration.activities.order import OrderActivities
from orchestration.activities.reconcile import ReconcileActivities
from orchestration.activities.shipping import ShippingActivities
from orchestration.contract import OrderPolicy
from orchestration.gateways import Gateways
from orchestration.temporal_client import schedule_reconciler
from orchestration.workflows.order import OrderWorkflow
from orchestration.workflows.reconcile import ReconcileWorkflow
from orchestration.workflows.shipping import ShippingWorkflow

AT_ONCE: Final = 500
"""Workflow tasks, local and regular activities that a worker runs at the same time, each."""


SCHEDULE_AGAIN_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


async def run_worker(
    client: Client,
    pool: asyncpg.Pool,
    gateways: Gateways,
    order_task_queue: str,
    shipping_task_queue: str,
    stop: asyncio.Event,
) -> None:
    """Serve both task queues until ``stop`` is set, then finish what runs.

    Also has the server look for stranded orders from time to time. Raises what a worker died
    of. What was running when the process is killed is given to another worker: see ``timing`` for
    how soon.
    """
    policy = OrderPolicy(shipping_task_queue=shipping_task_queue)  # all else has run out by then
    orders, shipments = workers(client, pool, gateways, order_task_queue, shipping_task_queue)
    async with AsyncExitStack() as running:
        fatal = [
            asyncio.create_task(worker.run(), name=worker.task_queue)
            for worker in (orders, shipments)
        ]
        running.push_async_callback(_end, (orders, shipments), fatal)
        scheduled = asyncio.create_task(_keep_schedule(client, policy, order_task_queue))
        told = asyncio.create_task(stop.wait())
        await asyncio.wait([told, scheduled, *fatal], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if scheduled.done():
            scheduled.result()
        scheduled.cancel()
        await asyncio.gather(scheduled, return_exceptions=True)


async def _keep_schedule(client: Client, policy: OrderPolicy, task_queue: str) -> None:
    """Set the reconciler's schedule, beside the workers: orders have seconds, it has time.

    Tries until Temporal takes it, and does not return, so that only an error ends it.
    """
    told = False
    while True:
        try:
            await schedule_reconciler(client, policy, task_queue)
            break
        except Unavailable as error:
            if not told:
                log.warning("waiting", server="Temporal", reason=str(error))
            told = True
        await asyncio.sleep(SCHEDULE_AGAIN_SECONDS)
    await asyncio.Event().wait()


def workers(
    client: Client,
    pool: asyncpg.Pool,
    gateways: Gateways,
    order_task_queue: str,
    shipping_task_queue: str,
    runner: WorkflowRunner | None = None,
    cached: int = 2 * AT_ONCE,
) -> tuple[Worker, Worker]:
    """Make the workers of both task queues; ``runner`` is unsandboxed unless given.

    ``cached`` is how many workflows each keeps in memory; 0: replay before every task.
    """
    order, shipping = OrderActivities(pool, gateways), ShippingActivities(pool, gateways)
    of_orders = [
        order.open,
        order.find_state,
        order.was_refused,
        order.receive,
        order.validate,
        order.charge,
        order.refund,
        order.end,
        order.request_review,
        order.find_review,
        order.approve,
        order.confirm,
        order.record,
        shipping.withdraw,
        ReconcileActivities(pool, gateways).find_stranded,
    ]
    of_shipments = [shipping.prepare, shipping.dispatch, shipping.withdraw, shipping.record]
    runner = runner or UnsandboxedWorkflowRunner()
    mine, theirs = [OrderWorkflow, ReconcileWorkflow], [ShippingWorkflow]
    return (
        _worker(client, order_task_queue, mine, of_orders, runner, cached),
        _worker(client, shipping_task_queue, theirs, of_shipments, runner, cached),
    )


def _worker(
    client: Client,
    task_queue: str,
    workflows: Sequence[type],
    activities: Sequence[Any],
    runner: WorkflowRunner,
    cached: int,
) -> Worker:
    return Worker(
        client,
        task_queue=task_queue,
        workflows=workflows,
        activities=activities,
        workflow_runner=runner,
        interceptors=[ErrorTree()],
        max_concurrent_workflow_tasks=AT_ONCE,
        max_concurrent_local_activities=AT_ONCE,
        max_concurrent_activities=AT_ONCE,
        max_cached_workflows=cached,
        sticky_queue_schedule_to_start_timeout=timing.STICKY_TIMEOUT,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        max_heartbeat_throttle_interval=timing.HEARTBEAT_TIMEOUT / 2,
        default_heartbeat_throttle_interval=timing.HEARTBEAT_TIMEOUT / 2,
        graceful_shutdown_timeout=timing.GRACEFUL_SHUTDOWN,
    )


async def _end(workers: Sequence[Worker], running: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*(worker.shutdown() for worker in workers))
    await asyncio.gather(*running)
