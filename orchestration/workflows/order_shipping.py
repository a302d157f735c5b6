"""How an order is handed to its shipments, one child workflow after the other."""

import contextlib
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ChildWorkflowError, FailureError
from temporalio.workflow import ChildWorkflowHandle

with workflow.unsafe.imports_passed_through():
    from domain.errors import Unavailable
    from domain.states import State
    from orchestration import timing
    from orchestration.activities.order import ConfirmOrder, OrderActivities
    from orchestration.contract import DISPATCH_FAILED_SIGNAL, STOP_SHIPPING_SIGNAL
    from orchestration.workflows.order_in_hand import OrderInHand
    from orchestration.workflows.shipping import Shipment, ShippingWorkflow
    from orchestration.workflows.steps import Interrupted, Refused

MOVES_AT_ONCE: Final = "another-address-ends-the-pause"
"""Patch, 2026-11-25: see docs/workflows.md for when it may go."""


class OrderShipping(OrderInHand):
    """The part of the story that the child tells."""

    async def _ship(self) -> None:
        """Ship; again after a failed dispatch, while time allows, or for another address."""
        attempt = 0
        while self._tracking_number is None:
            attempt += 1
            await self._try_shipment(f"{self._order_id}-{attempt}")
            if self._tracking_number is None and self._dispatch_failure is not None:
                await self._pause_before(attempt + 1)

    async def _try_shipment(self, shipment_id: str) -> None:
        async with self._in_turn:
            if self._cancel_asked:
                raise Interrupted
            self._child = await self._start_child(shipment_id)
            self._shipment_id, self._dispatch_failure = shipment_id, None
        self._steps.begin("ship", f"ship: {self._child.id} knows more")
        try:
            self._tracking_number = await self._child
            self._shipment_id = None
        except ChildWorkflowError as error:
            raise Unavailable(f"shipping was cut off: {error.cause or error}") from error
        finally:
            self._child = None
            if self._tracking_number:
                self._state = State.DISPATCHED

    async def _stop_shipping(self) -> None:
        """Have the running shipment stopped and wait for what became of it.

        Afterwards there is a tracking number, if it was too late.
        """
        if self._child is None:
            return
        with contextlib.suppress(FailureError):  # it is over; the outcome is on its way
            await self._child.signal(STOP_SHIPPING_SIGNAL)
        await workflow.wait_condition(lambda: self._child is None)

    async def _start_child(
        self, shipment_id: str
    ) -> ChildWorkflowHandle[ShippingWorkflow, str | None]:
        until = self._work_until()
        left = until - workflow.now()
        if left <= timedelta(0):
            raise Unavailable(self._dispatch_failure or "no time left to ship")
        shipment = Shipment(
            **self._order(),
            shipment_id=shipment_id,
            items=self._basket.items,
            address=self._address,
            until=until,
        )
        return await workflow.start_child_workflow(
            ShippingWorkflow.run,
            shipment,
            id=f"shipping-{shipment_id}",
            task_queue=self._policy.shipping_task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            task_timeout=timing.WORKFLOW_TASK_TIMEOUT,
            execution_timeout=left + timing.reserve(self._policy) * timing.CHILD_SHARE,
        )

    async def _pause_before(self, attempt: int) -> None:
        """Wait before the next shipment, but not for one to another address: it may work."""
        reason = f"dispatch failed: {self._dispatch_failure}"
        again_at = workflow.now() + timing.pause_before_shipment(attempt)
        if again_at >= self._work_until():
            raise Unavailable(reason)
        refused, moves_at_once = self._address, workflow.patched(MOVES_AT_ONCE)

        def over() -> bool:
            moved = moves_at_once and self._address != refused
            return moved or self._cancel_asked is not None

        await self._wait(over, again_at)
        if self._cancel_asked is not None:
            raise Interrupted

    async def _confirm(self, tracking_number: str) -> None:
        order = ConfirmOrder(**self._order(), tracking_number=tracking_number)
        try:
            await self._steps.take(OrderActivities.confirm, order)
        except Refused as no:
            if no.kind != "Declined":
                raise
            workflow.logger.error("sales does not take the notice: %s", no)
        self._state = State.SHIPPED

    @workflow.signal(name=DISPATCH_FAILED_SIGNAL)
    def dispatch_failed(self, reason: str) -> None:
        """Hear from the child that the parcel is not on its way."""
        self._dispatch_failure = reason
