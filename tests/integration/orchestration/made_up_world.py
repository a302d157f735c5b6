"""The world in which made-up orders live: a worker that may be killed, partners that may fail.

Temporal's clock skips what nobody has to wait for; worker and partners are real: a process of its
own, and the HTTP contract served from here, where a script says what becomes of each call.
"""

import asyncio
import signal
import socket
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path

import asyncpg
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from domain.commands import Command, StartOrder
from domain.states import TERMINAL, State
from ingest.handle import CommandHandler
from ingest.web import WebServer
from orchestration import gateways
from orchestration.contract import CommandMessage, OrderPolicy
from orchestration.gateways.server import create_app
from orchestration.timing import WORKFLOW_TASK_TIMEOUT, reserve
from persistence.queries import get_order
from tests.support.waiting import until
from tests.unit.orchestration.orders import Orders
from tests.unit.orchestration.partners import Script

PATIENCE = 240
LEFT_BEHIND = 10 * WORKFLOW_TASK_TIMEOUT


@dataclass
class World:
    """What one test's orders share."""

    environment: WorkflowEnvironment
    orders: Orders
    points: Path
    arguments: list[str]
    asked: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    started: set[str] = field(default_factory=set)
    ends: Counter[str] = field(default_factory=Counter)
    left_behind: set[str] = field(default_factory=set)
    """Orders of which the server has lost a task: how they end nobody can say."""
    deaths: int = 0
    worker: subprocess.Popen[bytes] | None = None

    async def send(self, name: str, command: Command) -> None:
        """Deliver a command as ingest does."""
        orders = self.orders
        handler = CommandHandler(orders.client, orders.db, orders.policy, orders.task_queue)
        orders.known.add(command.order_id)
        self.asked[name].add(str(command.command_id))
        if isinstance(command, StartOrder):
            self.started.add(name)
        await handler.handle(CommandMessage(command=command))

    async def stands(self, name: str) -> tuple[State | None, int]:
        """Return an order's state and how many events it has."""
        order = await get_order(self.orders.db, self.orders.id(name))
        return (order.state, order.sequence) if order else (None, 0)

    async def goes_on(self, name: str, moment: int) -> None:
        """Wait until an order has so many events, or waits for somebody, or is over."""

        async def there() -> bool:
            state, sequence = await self.stands(name)
            if state is None:
                return name not in self.started
            if state is State.IN_REVIEW or state in TERMINAL or sequence >= moment:
                return True
            if state is State.DISPATCH_FAILED:
                await self.passes(1)
            return False

        await until(there, every=0.05, patience=PATIENCE)

    async def passes(self, seconds: int) -> None:
        """Let time pass on Temporal's clock.

        It skips nothing while a task is under way, as of a worker that has died. Where that takes
        longer than a call may, less time has passed, which is as good a story.
        """
        try:
            await self.environment.sleep(timedelta(seconds=seconds))
        except RPCError as error:
            if error.status is not RPCStatusCode.CANCELLED:
                raise

    def dies_at(self, point: str) -> None:
        """Have the worker die when it next gets to a point of its activities."""
        (self.points / point).touch()

    def dies(self) -> None:
        """Kill the worker now."""
        if self.worker:
            self.worker.kill()

    async def all_over(self, names: list[str]) -> None:
        """Mend what is broken and wait until nothing is under way any more."""
        for point in self.points.iterdir():
            point.unlink()
        script = self.orders.script
        script.always.clear()
        script.next.clear()
        async with self.environment.time_skipping_unlocked():  # type: ignore[attr-defined]
            for name in names:
                await until(partial(self._over, name), patience=PATIENCE)

    async def decided_in_time(self, name: str) -> None:
        """Compare the end of an order's workflow with its deadline, both on Temporal's clock."""
        order = await get_order(self.orders.db, self.orders.id(name))
        events = await self.orders.events(name)
        asked = any(event.type == "order.review_requested" for event in events)
        if order is None or (asked and not any(e.type == "order.approved" for e in events)):
            return
        if not await self._had_no_worker(name):
            assert await self.orders.decided_in_time(name), await self.orders.story(name)

    async def _had_no_worker(self, name: str) -> bool:
        """Tell whether a task waited for a worker for longer than is kept back to end in time.

        This server's clock may skip an hour between a worker's death and the next one's first
        question: an order cannot be in time that nobody worked on.
        """
        told = (await self.orders.handle(name).fetch_history()).events
        scheduled = told[0].event_time.ToDatetime()
        longest = timedelta(0)
        for event in told:
            if event.HasField("workflow_task_scheduled_event_attributes"):
                scheduled = event.event_time.ToDatetime()
            if event.HasField("workflow_task_started_event_attributes"):
                longest = max(longest, event.event_time.ToDatetime() - scheduled)
        return longest > reserve(self.orders.policy)

    async def _over(self, name: str) -> bool:
        described = await self.orders.handle(name).describe()
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return True
        if await self._is_left_behind(name):
            self.left_behind.add(name)
        return name in self.left_behind

    async def _is_left_behind(self, name: str) -> bool:
        """Tell whether this server will never give out the order's task again.

        It refuses a completed task that cancels a timer which has just fired, and forgets it: the
        task neither fails nor times out (temporalio/sdk-java issue 3088). Temporal itself does.
        """
        last = (await self.orders.handle(name).fetch_history()).events[-1]
        since = await self.environment.get_current_time() - last.event_time.ToDatetime(UTC)
        begun = last.HasField("workflow_task_started_event_attributes")
        return begun and since > LEFT_BEHIND


@asynccontextmanager
async def world(
    environment: WorkflowEnvironment,
    db: asyncpg.Pool,
    db_url: str,
    directory: Path,
    unique: Callable[[str], str],
) -> AsyncIterator[World]:
    """Serve partners and keep a worker running, a new one whenever one has been killed."""
    points = directory / "points"
    points.mkdir()
    policy = OrderPolicy(timeout_seconds=120, shipping_task_queue=unique("shipping"))
    orders = Orders(environment.client, db, unique("order"), policy, Script())
    async with _partners(db_url, orders.script) as url:
        queues = orders.task_queue, policy.shipping_task_queue
        address = environment.client.service_client.config.target_host
        made = World(environment, orders, points, [db_url, address, *queues, str(points), url])
        keeping = asyncio.create_task(_keep_a_worker(made))
        try:
            yield made
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
    assert made.worker is not None
    assert made.worker.returncode in (0, -signal.SIGTERM)  # it may have been starting


def _start(arguments: list[str]) -> subprocess.Popen[bytes]:
    module = "tests.integration.orchestration.skipping_worker"
    return subprocess.Popen([sys.executable, "-m", module, *arguments])


async def _keep_a_worker(world: World) -> None:
    try:
        while True:
            world.worker = _start(world.arguments)
            ended = await asyncio.to_thread(world.worker.wait)
            assert ended == -signal.SIGKILL
            world.deaths += 1
    finally:
        if world.worker:
            world.worker.terminate()
            await asyncio.to_thread(world.worker.wait, 60)


@asynccontextmanager
async def _partners(db_url: str, script: Script) -> AsyncIterator[str]:
    ready = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        async with gateways.simulated(db_url, gateways.Faults.NONE, seed=0) as simulated:
            server = WebServer(create_app(script.direct(simulated)), 1, ready.set)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            await ready.wait()
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            server.should_exit = True
            await serving
