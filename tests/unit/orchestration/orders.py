"""Orders driven by the real workflows, on whatever Temporal and PostgreSQL a test has."""

import asyncio
import itertools
import json
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer

from domain.commands import (
    ApproveOrder,
    CancelOrder,
    Command,
    RejectOrder,
    StartOrder,
    UpdateAddress,
)
from domain.errors import Unavailable
from domain.events import EventData, Received, ReviewRequested, Validated
from domain.model import Address, Item
from orchestration.contract import CommandMessage, Delivery, OrderPolicy, workflow_id
from orchestration.temporal_client import DATA_CONVERTER, deliver
from orchestration.workflows.order import OrderWorkflow
from orchestration.workflows.reconcile import ReconcileWorkflow
from orchestration.workflows.shipping import ShippingWorkflow
from persistence.queries import get_order, history
from persistence.write import Change, record
from tests.support.waiting import until
from tests.unit.orchestration.partners import Script

HOME = Address(street="123 Main St", city="Anytown", state="CA", zip="12345")
ELSEWHERE = Address(street="9 Side St", city="Anytown", state="CA", zip="54321")
NOWHERE = Address(street="0 No St", city="Nowhere", state="CA", zip="00000")
REPLAYER = Replayer(
    workflows=[OrderWorkflow, ShippingWorkflow, ReconcileWorkflow], data_converter=DATA_CONVERTER
)
PATIENCE = 240
_numbers = itertools.count(1)


@dataclass
class Orders:
    """Sends commands as ingest does and reads what became of them.

    Tests call their orders by short names; the ids are no other test's.
    """

    client: Client
    db: asyncpg.Pool
    task_queue: str
    policy: OrderPolicy
    script: Script
    skipping: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext
    known: set[str] = field(default_factory=set)
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def id(self, name: str) -> str:
        return f"{name}-{self.tag}"

    async def send(self, command: Command) -> Delivery:
        if command.command_id is None:
            command = command.model_copy(update={"command_id": f"c-{next(_numbers)}"})
        self.known.add(command.order_id)
        message = CommandMessage(command=command)
        while True:
            try:
                return await deliver(self.client, message, self.policy, self.task_queue)
            except Unavailable:  # a server that has just started may be slow
                await asyncio.sleep(1)

    async def was_asked(self, name: str, ago: timedelta, amount: int) -> StartOrder:
        """Write what a lost task had written that asked for a review; return the order's start."""
        item = Item(sku="S", quantity=1, unit_price=amount)
        start = StartOrder(
            order_id=self.id(name),
            command_id="c1",
            initial_address=HOME,
            items=(item,),
            currency="USD",
        )
        asked_at = datetime.now(UTC) - ago
        deadline = asked_at + timedelta(seconds=self.policy.timeout_seconds)
        decide_by = asked_at + timedelta(seconds=self.policy.review_timeout_seconds)
        written: dict[str, EventData] = {
            "received": Received(address=HOME, deadline=deadline),
            "validated": Validated(items=(item,), amount=amount, currency="USD"),
            "review-requested": ReviewRequested(
                reason="r", amount=amount, currency="USD", decide_by=decide_by
            ),
        }
        for key, data in written.items():
            of = start.command_id if key == "received" else None
            await record(self.db, Change(start.order_id, key, data, of))
        return start

    async def start(
        self, name: str, *, amount: int | None = None, address: Address = HOME, **more: Any
    ) -> Delivery:
        if amount is not None:
            item = Item(sku="S", quantity=1, unit_price=amount)
            more |= {"items": (item,), "currency": "USD"}
        return await self.send(StartOrder(order_id=self.id(name), initial_address=address, **more))

    async def cancel(self, name: str, **more: Any) -> Delivery:
        command = CancelOrder(order_id=self.id(name), reason="no need", cancelled_by="me", **more)
        return await self.send(command)

    async def move(self, name: str, to: Address = ELSEWHERE, **more: Any) -> Delivery:
        return await self.send(
            UpdateAddress(order_id=self.id(name), new_address=to, updated_by="me", **more)
        )

    async def approve(self, name: str) -> Delivery:
        return await self.send(ApproveOrder(order_id=self.id(name), reviewed_by="boss"))

    async def reject(self, name: str) -> Delivery:
        return await self.send(
            RejectOrder(order_id=self.id(name), reviewed_by="boss", reason="odd")
        )

    def handle(self, name: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(workflow_id(self.id(name)))

    async def ends(self, name: str) -> str:
        """Wait for the workflow and return the state it ended in, skipping time if it can."""
        async with self.skipping(), asyncio.timeout(PATIENCE):
            while True:
                try:
                    return str(await self.handle(name).result())
                except RuntimeError as error:  # the server that skips time gives up after a while
                    if "No completion event" not in str(error):
                        raise

    async def events(self, name: str) -> list[Any]:
        return list(await history(self.db, self.id(name)))

    async def story(self, name: str) -> list[str]:
        return [event.type.removeprefix("order.") for event in await self.events(name)]

    def hurry(self) -> None:
        """Give orders 15 s instead of the tests' two minutes.

        Only for those that are to fail in time: while steps run, time runs as it does, and how
        fast this machine is is not what is tested.
        """
        self.policy = self.policy.model_copy(update={"timeout_seconds": 15})

    def shipment(self, name: str, attempt: int = 1) -> str:
        """Return the id of the workflow that ships an order, or tries to."""
        return f"shipping-{self.id(name)}-{attempt}"

    async def has(self, workflow: str, event: str, times: int = 1) -> None:
        """Wait until the history of a workflow has so many such events."""

        async def there() -> bool:
            try:
                told = await self.client.get_workflow_handle(workflow).fetch_history()
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return False
                raise
            attributes = f"{event}_event_attributes"
            return sum(e.WhichOneof("attributes") == attributes for e in told.events) >= times

        await until(there)

    async def spoke_in_time(self, name: str) -> bool:
        """Tell whether the last signal came before the timer fired; both are in the history."""
        told = (await self.handle(name).fetch_history()).events
        kinds = [event.WhichOneof("attributes") for event in told]
        fired = kinds.index("timer_fired_event_attributes")
        return "workflow_execution_signaled_event_attributes" not in kinds[fired:]

    async def has_heard(self, name: str) -> None:
        """Wait until the order's workflow has worked on all signals so far."""

        async def heard() -> bool:
            told = (await self.handle(name).fetch_history()).events
            kinds = [
                (e.WhichOneof("attributes") or "").removesuffix("_event_attributes") for e in told
            ]
            # By order: the test server leaves a completed task's ``started_event_id`` empty.
            after = kinds[len(kinds) - kinds[::-1].index("workflow_execution_signaled") :]
            return (
                "workflow_task_started" in after
                and "workflow_task_completed" in after[after.index("workflow_task_started") :]
            )

        await until(heard)

    async def goes_on(self, workflow: str) -> None:
        """Wait until a step of a workflow goes on as a regular activity: now it hears signals."""
        await self.has(workflow, "activity_task_scheduled")

    async def reaches(self, name: str, event: str) -> None:
        async def there() -> bool:
            return event in await self.story(name)

        await until(there)

    async def last(self, name: str) -> Any:
        return (await self.events(name))[-1]

    async def rejections(self, name: str) -> list[str]:
        return [
            event.data.reason
            for event in await self.events(name)
            if event.type == "order.command_rejected"
        ]

    async def payment(self, name: str) -> str | None:
        query = "select status from payments where order_id = $1"
        return await self.db.fetchval(query, self.id(name))  # type: ignore[no-any-return]

    async def books(self, name: str) -> list[str]:
        """What the partners have really done for an order, in order."""
        query = "select operation from partners.ledger where order_id = $1 order by at"
        return [row["operation"] for row in await self.db.fetch(query, self.id(name))]

    async def enter(self, key: str, operation: str, order_id: str, detail: dict[str, Any]) -> None:
        """Write into the partners' books."""
        query = (
            "insert into partners.ledger (key, operation, order_id, detail) values ($1,$2,$3,$4)"
        )
        await self.db.execute(query, key, operation, order_id, json.dumps(detail))

    async def decided_in_time(self, name: str) -> bool:
        """Compare the workflow's end with the order's deadline, both on Temporal's clock."""
        described = await self.handle(name).describe()
        order = await get_order(self.db, self.id(name))
        assert order is not None
        assert described.close_time is not None
        return described.close_time <= order.deadline

    async def replay(self) -> None:
        """Replay what all orders have been through: is it deterministic?"""
        for told in await self.histories():
            await REPLAYER.replay_workflow(told)

    async def histories(self) -> list[WorkflowHistory]:
        """Return the histories of all workflows of all orders so far.

        Of each order its own, its shipments', and the reconciler's that took it up.
        """
        found = []
        for order_id in sorted(self.known):
            own = await self._history(workflow_id(order_id))
            found.append(own)
            for event in own.events:
                child = event.child_workflow_execution_started_event_attributes.workflow_execution
                parent = event.workflow_execution_started_event_attributes.parent_workflow_execution
                others = [other for other in (child, parent) if other.workflow_id]
                found += [await self._history(one.workflow_id, one.run_id) for one in others]
        return found

    async def _history(self, workflow: str, run: str | None = None) -> WorkflowHistory:
        return await self.client.get_workflow_handle(workflow, run_id=run).fetch_history()
