"""ShippingWorkflow: one shipment of an order, on a task queue of its own.

Here the race of cancel and dispatch is decided: until the carrier is asked, a cancel or another
address is accepted; from then on both are too late.
"""

from typing import Any, Final

from pydantic import AwareDatetime
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.commands import CancelOrder, UpdateAddress
    from domain.errors import Unavailable
    from domain.events import AddressUpdated, CommandRejected, DispatchFailed
    from domain.model import Address, Items, Model
    from orchestration.activities.base import OrderInput, Write
    from orchestration.activities.shipping import (
        DispatchShipment,
        PrepareShipment,
        ShippingActivities,
        WithdrawShipment,
    )
    from orchestration.contract import (
        COMMAND_SIGNAL,
        DISPATCH_FAILED_SIGNAL,
        SHIPPING_WORKFLOW,
        STATUS_QUERY,
        CommandMessage,
        Status,
    )
    from orchestration.workflows.steps import Interrupted, Refused, Steps

TOO_LATE: Final = "too late: the carrier has been asked to dispatch"


class Shipment(OrderInput):
    """What to ship, and until when it has to be on its way."""

    shipment_id: str
    items: Items
    address: Address
    until: AwareDatetime


class ShipmentOutcome(Model):
    """``tracking_number`` when dispatched; ``address`` is the last one accepted.

    Without a tracking number the carrier has nothing and will get nothing of this shipment.
    """

    address: Address
    tracking_number: str | None = None


@workflow.defn(name=SHIPPING_WORKFLOW)
class ShippingWorkflow:
    """Prepares and dispatches one parcel; takes changes until the carrier is asked."""

    @workflow.init
    def __init__(self, shipment: Shipment) -> None:
        self._shipment = shipment
        self._address = shipment.address
        self._cancelled = False
        self._carrier_asked = False
        self._steps = Steps()
        self._replies = Steps()

    @workflow.run
    async def run(self, shipment: Shipment) -> ShipmentOutcome:  # noqa: ARG002 - read in init
        """Ship, or tell the parent why not."""
        tracking_number = None
        try:
            await self._prepare()
            tracking_number = await self._dispatch()
        except Interrupted:
            workflow.logger.info("cancelled before the carrier was asked")
        except (Refused, Unavailable) as trouble:
            self._carrier_asked = True
            await self._fail(str(trouble))
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ShipmentOutcome(address=self._address, tracking_number=tracking_number)

    async def _prepare(self) -> None:
        """Pack, and label anew as long as the address changes meanwhile."""
        label, labelled = 0, None
        while labelled != self._address:
            label, labelled = label + 1, self._address
            parcel = PrepareShipment(
                **self._order(), items=self._shipment.items, address=labelled, label=label
            )
            await self._steps.take(
                ShippingActivities.prepare,
                parcel,
                until=self._shipment.until,
                unless=lambda: self._cancelled,
            )
            await workflow.wait_condition(workflow.all_handlers_finished)

    async def _dispatch(self) -> str | None:
        """Ask the carrier; from here on it is too late for changes."""
        if self._cancelled:
            raise Interrupted
        self._carrier_asked = True
        parcel = DispatchShipment(**self._order(), address=self._address)
        try:
            return await self._steps.take(
                ShippingActivities.dispatch, parcel, until=self._shipment.until
            )
        except Unavailable:
            tracking_number = await self._steps.take(
                ShippingActivities.withdraw, WithdrawShipment(**self._order())
            )
            if tracking_number is None:
                raise
            return tracking_number

    async def _fail(self, reason: str) -> None:
        failed = DispatchFailed(shipment_id=self._shipment.shipment_id, reason=reason[:500])
        key = f"dispatch-failed:{self._shipment.shipment_id}"
        await self._steps.take(
            ShippingActivities.record, Write.of(self._shipment.order_id, key, failed)
        )
        parent = workflow.info().parent
        if parent:
            handle = workflow.get_external_workflow_handle(parent.workflow_id)
            await handle.signal(DISPATCH_FAILED_SIGNAL, reason)

    @workflow.signal(name=COMMAND_SIGNAL)
    async def command(self, message: CommandMessage) -> None:
        """Take a cancel or another address that the parent passes on.

        The parent answers the cancel, knowing from the outcome which of the two was first.
        """
        command = message.command
        if isinstance(command, CancelOrder):
            self._cancelled = self._cancelled or not self._carrier_asked
        elif isinstance(command, UpdateAddress) and not (self._carrier_asked or self._cancelled):
            self._address = command.new_address
            updated = AddressUpdated(address=command.new_address, updated_by=command.updated_by)
            await self._reply(message, updated)
        else:
            rejected = CommandRejected(command_type=command.type, reason=TOO_LATE)
            await self._reply(message, rejected)

    @workflow.query(name=STATUS_QUERY)
    def status(self) -> Status:
        """Return how the running step is getting on."""
        return Status(**self._steps.progress())

    async def _reply(self, message: CommandMessage, data: AddressUpdated | CommandRejected) -> None:
        answer = Write.of(
            message.command.order_id,
            f"command:{message.command.command_id}",
            data,
            command_id=message.command.command_id,
            traceparent=message.traceparent,
        )
        await self._replies.take(ShippingActivities.record, answer)

    def _order(self) -> dict[str, Any]:
        shipment = self._shipment
        return {
            "order_id": shipment.order_id,
            "traceparent": shipment.traceparent,
            "shipment_id": shipment.shipment_id,
        }
