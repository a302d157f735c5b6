"""ShippingWorkflow: one shipment of an order, on a task queue of its own.

Here the race of a cancel, or of another address, with the dispatch is decided. Until the carrier
is asked, the shipment can be stopped; whether that was in time the carrier says (``withdraw``),
not this workflow's memory: a task that had asked already may have been lost.
"""

from typing import Any

from pydantic import AwareDatetime
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.errors import Unavailable
    from domain.events import DispatchFailed
    from domain.model import Address, Items, as_text
    from orchestration.activities.base import OrderInput, Write
    from orchestration.activities.shipping import (
        DispatchShipment,
        PrepareShipment,
        ShippingActivities,
        WithdrawShipment,
    )
    from orchestration.contract import (
        DISPATCH_FAILED_SIGNAL,
        SHIPPING_WORKFLOW,
        STATUS_QUERY,
        STOP_SHIPPING_SIGNAL,
        Status,
    )
    from orchestration.workflows.steps import Interrupted, Refused, Steps


class Shipment(OrderInput):
    """What to ship, and until when it has to be on its way."""

    shipment_id: str
    items: Items
    address: Address
    until: AwareDatetime


@workflow.defn(name=SHIPPING_WORKFLOW)
class ShippingWorkflow:
    """Prepares and dispatches one parcel."""

    @workflow.init
    def __init__(self, shipment: Shipment) -> None:
        self._shipment = shipment
        self._stopped = False
        self._steps = Steps()

    @workflow.run
    async def run(self, shipment: Shipment) -> str | None:  # noqa: ARG002 - read in init
        """Return the tracking number; ``None``: the carrier has nothing and will get nothing."""
        try:
            await self._prepare()
            return await self._dispatch()
        except Interrupted:
            return await self._withdraw()
        except (Refused, Unavailable) as trouble:
            tracking_number = await self._withdraw()
            if tracking_number is None:
                await self._fail(str(trouble))
            return tracking_number

    async def _prepare(self) -> None:
        parcel = PrepareShipment(
            **self._order(), items=self._shipment.items, address=self._shipment.address
        )
        await self._steps.take(
            ShippingActivities.prepare,
            parcel,
            until=self._shipment.until,
            unless=lambda: self._stopped,
        )

    async def _dispatch(self) -> str:
        """Ask the carrier; from here on it is too late to stop."""
        if self._stopped:
            raise Interrupted
        parcel = DispatchShipment(**self._order(), address=self._shipment.address)
        return await self._steps.take(
            ShippingActivities.dispatch, parcel, until=self._shipment.until
        )

    async def _withdraw(self) -> str | None:
        return await self._steps.take(
            ShippingActivities.withdraw, WithdrawShipment(**self._order())
        )

    async def _fail(self, reason: str) -> None:
        """Record that the parcel is not on its way, and tell the parent why."""
        failed = DispatchFailed(shipment_id=self._shipment.shipment_id, reason=as_text(reason))
        key = f"dispatch-failed:{self._shipment.shipment_id}"
        event = Write.of(
            self._shipment.order_id, key, failed, traceparent=self._shipment.traceparent
        )
        await self._steps.take(ShippingActivities.record, event)
        parent = workflow.info().parent
        if parent:
            handle = workflow.get_external_workflow_handle(parent.workflow_id)
            await handle.signal(DISPATCH_FAILED_SIGNAL, reason)

    @workflow.signal(name=STOP_SHIPPING_SIGNAL)
    def stop(self) -> None:
        """Stop unless the carrier has been asked."""
        self._stopped = True

    @workflow.query(name=STATUS_QUERY)
    def status(self) -> Status:
        """Return how the running step is getting on."""
        return Status(**self._steps.progress())

    def _order(self) -> dict[str, Any]:
        shipment = self._shipment
        return {
            "order_id": shipment.order_id,
            "traceparent": shipment.traceparent,
            "shipment_id": shipment.shipment_id,
        }
