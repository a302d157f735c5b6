"""Two orders without a database and without partners, to compare the real one with.

    python -m bench.skeletons usual|best HOST:PORT

``usual``: what a project has that has not measured: three steps as local activities, two as
regular ones, a child with two regular ones, in the sandbox, with a worker as it is by default.
``best``: the shape of the service's workflows with nothing in it: every step a local activity, no
sandbox, pollers that scale. Both do seven steps and a child, and both signal nothing.
"""

import asyncio
import contextlib
import signal
import sys
from datetime import timedelta
from typing import Any, Final

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

ORDERS: Final = "skeleton-orders"
SHIPPING: Final = "skeleton-shipping"
LIMIT: Final = timedelta(seconds=30)


@activity.defn
async def step(order_id: str) -> str:
    """Do nothing."""
    return order_id


@workflow.defn
class UsualShipping:
    """Two regular activities."""

    @workflow.run
    async def run(self, order_id: str) -> str:
        """Prepare, dispatch."""
        for _ in range(2):
            await workflow.execute_activity(step, order_id, start_to_close_timeout=LIMIT)
        return order_id


@workflow.defn
class UsualOrder:
    """Three local activities, two regular ones, a child."""

    @workflow.run
    async def run(self, order_id: str) -> str:
        """Go through the steps."""
        for _ in range(3):
            await workflow.execute_local_activity(step, order_id, start_to_close_timeout=LIMIT)
        for _ in range(2):
            await workflow.execute_activity(step, order_id, start_to_close_timeout=LIMIT)
        return await workflow.execute_child_workflow(
            UsualShipping.run, order_id, id=f"shipping-{order_id}", task_queue=SHIPPING
        )


@workflow.defn
class BestShipping:
    """Two local activities."""

    @workflow.run
    async def run(self, order_id: str) -> str:
        """Prepare, dispatch."""
        for _ in range(2):
            await workflow.execute_local_activity(step, order_id, start_to_close_timeout=LIMIT)
        return order_id


@workflow.defn
class BestOrder:
    """Four local activities, a child, one local activity."""

    @workflow.run
    async def run(self, order_id: str) -> str:
        """Go through the steps."""
        for _ in range(4):
            await workflow.execute_local_activity(step, order_id, start_to_close_timeout=LIMIT)
        await workflow.execute_child_workflow(
            BestShipping.run, order_id, id=f"shipping-{order_id}", task_queue=SHIPPING
        )
        return await workflow.execute_local_activity(step, order_id, start_to_close_timeout=LIMIT)


SKELETONS: Final[dict[str, tuple[type, type]]] = {
    "usual": (UsualOrder, UsualShipping),
    "best": (BestOrder, BestShipping),
}
_TUNED: Final[dict[str, dict[str, Any]]] = {
    "usual": {},
    "best": {
        "workflow_runner": UnsandboxedWorkflowRunner(),
        "max_concurrent_workflow_tasks": 500,
        "max_concurrent_local_activities": 500,
        "max_cached_workflows": 1000,
        "workflow_task_poller_behavior": PollerBehaviorAutoscaling(),
        "activity_task_poller_behavior": PollerBehaviorAutoscaling(),
    },
}


async def work(name: str, address: str) -> None:
    """Serve both queues of a skeleton until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(address)
    async with contextlib.AsyncExitStack() as workers:
        for queue, defined in zip((ORDERS, SHIPPING), SKELETONS[name], strict=True):
            worker = Worker(
                client, task_queue=queue, workflows=[defined], activities=[step], **_TUNED[name]
            )
            await workers.enter_async_context(worker)
        await stop.wait()


def main() -> None:
    """Run a worker on uvloop, as the service's own worker does."""
    import uvloop

    import orchestration.temporal_client  # noqa: F401 - its exit barrier

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(*sys.argv[1:3]))


if __name__ == "__main__":
    main()
