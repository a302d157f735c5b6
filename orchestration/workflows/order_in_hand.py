"""What all parts of ``OrderWorkflow`` share: the order as it stands, and a few short cuts."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.workflow import ChildWorkflowHandle

with workflow.unsafe.imports_passed_through():
    from domain.commands import StartOrder
    from domain.events import EventData
    from domain.model import Address
    from domain.payments import PaymentStatus
    from domain.states import State
    from orchestration import timing
    from orchestration.activities.base import Activities, Write
    from orchestration.contract import CommandMessage, OrderPolicy
    from orchestration.gateways.sales import Basket
    from orchestration.workflows.shipping import ShippingWorkflow
    from orchestration.workflows.steps import Steps

P = TypeVar("P")
R = TypeVar("R")


class OrderInHand:
    """An order being driven. Times are the workflow's own, so that a replay sees the same."""

    _address: Address
    _basket: Basket
    _deadline: datetime
    _start_message: CommandMessage

    def __init__(self, policy: OrderPolicy) -> None:
        self._policy = policy
        self._order_id = workflow.info().workflow_id.removeprefix("order-")
        self._traceparent: str | None = None
        self._start: StartOrder | None = None
        self._state: State | None = None
        self._shipment_id: str | None = None
        """Set while it is unknown whether the carrier has this parcel."""
        self._tracking_number: str | None = None
        self._owes = False
        """The order has ended and its payment is not settled."""
        self._dispatch_failure: str | None = None
        self._child: ChildWorkflowHandle[ShippingWorkflow, str | None] | None = None
        self._ending: str | None = None
        """Why it is too late for any command, once the order is on its way to an end."""
        self._cancel_asked: CommandMessage | None = None
        self._decision: CommandMessage | None = None
        """A reviewer's; it may come before it is asked for."""
        self._decide_by: datetime | None = None
        """Set where a lost task had asked for a review already."""
        self._stood_still = timedelta(0)
        """How much of that review ``_deadline`` has been moved by."""
        self._review_over = False
        self._in_turn = asyncio.Lock()
        """Held by whoever takes a command, and to hand the order over to a shipment."""
        self._steps = Steps()

    def _order(self) -> dict[str, Any]:
        return {"order_id": self._order_id, "traceparent": self._traceparent}

    def _work_until(self) -> datetime:
        return self._deadline - timing.reserve(self._policy)

    async def _work(self, activity: Callable[[Any, P], Awaitable[R]], given: P) -> R:
        """Take a step of the story: while there is time to compensate, unless cancelled."""
        return await self._steps.take(
            activity,
            given,
            until=self._work_until(),
            unless=lambda: self._cancel_asked is not None,
        )

    async def _write(
        self,
        key: str,
        data: EventData,
        message: CommandMessage | None = None,
        payment: PaymentStatus | None = None,
    ) -> None:
        """Write an event, however long it takes; ``message`` is the command that caused it."""
        await self._steps.take(Activities.record, self._event(key, data, message, payment))

    def _event(
        self,
        key: str,
        data: EventData,
        message: CommandMessage | None = None,
        payment: PaymentStatus | None = None,
    ) -> Write:
        return Write.of(
            self._order_id,
            key,
            data,
            command_id=message.command.command_id if message else None,
            traceparent=message.traceparent if message else self._traceparent,
            payment=payment,
        )

    @staticmethod
    async def _wait(condition: Callable[[], bool], until: datetime) -> bool:
        """Wait for ``condition``; tell whether it came true in time."""
        try:
            await workflow.wait_condition(condition, timeout=until - workflow.now())
        except TimeoutError:
            return condition()
        return True
