"""The real workflows, as in production, on the shared real servers."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from devstack import Endpoints
from orchestration import gateways
from orchestration.contract import OrderPolicy
from orchestration.temporal_client import connect
from orchestration.worker import workers
from tests.unit.orchestration.orders import Orders
from tests.unit.orchestration.partners import Script

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
async def unserved(endpoints: Endpoints, db: asyncpg.Pool, unique: Callable[[str], str]) -> Orders:
    """Orders without a worker."""
    client = await connect(endpoints.temporal_host, endpoints.temporal_port, "default")
    policy = OrderPolicy(timeout_seconds=120, shipping_task_queue=unique("shipping"))
    return Orders(client, db, unique("order"), policy, Script())


@pytest.fixture
async def orders(unserved: Orders, db_url: str) -> AsyncIterator[Orders]:
    """Orders with both workers, unsandboxed, in this process; all they did is replayed after."""
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
    await unserved.replay()


@pytest.fixture
async def worker(
    unserved: Orders, endpoints: Endpoints, db_url: str, tmp_path: Path
) -> AsyncIterator[Start]:
    """Start worker processes; what still runs afterwards is ended in good order."""
    started: list[subprocess.Popen[bytes]] = []
    arguments = [
        *(db_url, endpoints.temporal_host, str(endpoints.temporal_port)),
        *(unserved.task_queue, unserved.policy.shipping_task_queue),
        str(tmp_path),
    ]

    def start(faults: str = "none") -> subprocess.Popen[bytes]:
        module = "tests.integration.orchestration.worker_process"
        process = subprocess.Popen([sys.executable, "-m", module, *arguments, faults])
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            assert await asyncio.to_thread(process.wait, 60) == 0
