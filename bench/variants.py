"""What is measured side by side: the service, and the two skeletons, each on servers of its own."""

import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from temporalio.client import Client

from bench.load import One
from bench.meter import Meter
from bench.service import Say, Service, running_service
from bench.skeletons import ORDERS, SKELETONS
from devstack import Child, free_port
from devstack.server import Home
from devstack.temporal import Temporal


@dataclass(frozen=True, slots=True)
class Variant:
    """Something that orders can be given to."""

    one: One
    meter: Callable[[], Awaitable[Meter]]
    client: Client
    service: Service | None
    workflow_ids: tuple[str, str]
    """Of the order with the id ``{}``, and of its child."""


class UntunedTemporal(Temporal):
    """The development server as it is by default: four partitions for each task queue."""

    async def command(self) -> Sequence[str | Path]:
        """See the base class."""
        argv = list(await super().command())
        while "--dynamic-config-value" in argv:
            at = argv.index("--dynamic-config-value")
            del argv[at : at + 2]
        return argv


@contextlib.asynccontextmanager
async def full(say: Say, **environment: str) -> AsyncIterator[Variant]:
    """The service: a start on Kafka to the last event on Kafka."""
    async with running_service(say, environment) as service:
        settings = service.local.settings
        client = await Client.connect(f"{settings.temporal_host}:{settings.temporal_port}")
        ids = ("order-{}", "shipping-{}-1")
        yield Variant(service.order, service.meter, client, service, ids)


@contextlib.asynccontextmanager
async def skeleton(
    name: str, say: Say, server: type[Temporal] = Temporal
) -> AsyncIterator[Variant]:
    """An empty order: from the client's start to the result, with a worker process."""
    workflow = SKELETONS[name][0]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        (Path(directory) / "logs").mkdir()
        home = Home(Path(directory), (), persistent=True, say=say, died=say)
        temporal = server(home, free_port(), free_port())
        await temporal.start()
        worker: Child | None = None
        try:
            argv = [sys.executable, "-m", "bench.skeletons", name, temporal.where]
            worker = await Child.spawn("worker", argv, log_path=home.directory / "worker.log")
            client = await Client.connect(temporal.where)
            pids = {"Temporal server": temporal.pid, "worker": worker.pid}

            async def one(order_id: str) -> None:
                await client.execute_workflow(
                    workflow.run,  # type: ignore[attr-defined]
                    order_id,
                    id=f"order-{order_id}",
                    task_queue=ORDERS,
                )

            async def meter() -> Meter:
                return Meter(pids)

            yield Variant(one, meter, client, None, ("order-{}", "shipping-{}"))
        finally:
            if worker is not None:
                await worker.terminate()
            await temporal.stop()


VARIANTS: Final[dict[str, Callable[[Say], AbstractAsyncContextManager[Variant]]]] = {
    "full": full,
    "flaky": lambda say: full(say, SIMULATED_FAULTS="flaky"),
    "usual": lambda say: skeleton("usual", say),
    "best": lambda say: skeleton("best", say),
    "untuned": lambda say: skeleton("usual", say, UntunedTemporal),
}
"""``flaky``: the service with partners that mostly fail. ``untuned``: the usual
skeleton on a server that nobody has set either."""


async def history_of(variant: Variant, order_id: str) -> dict[str, int]:
    """Return what Temporal keeps of an order and its child together, and how often it wrote."""
    found = {"events": 0, "tasks": 0, "transitions": 0, "history_bytes": 0}
    for workflow_id in variant.workflow_ids:
        handle = variant.client.get_workflow_handle(workflow_id.format(order_id))
        async for event in handle.fetch_history_events():
            found["events"] += 1
            found["tasks"] += event.HasField("workflow_task_completed_event_attributes")
        told = (await handle.describe()).raw_description.workflow_execution_info
        found["transitions"] += told.state_transition_count
        found["history_bytes"] += told.history_size_bytes
    return found
