"""How an order ends that is not shipped: what was done is undone, then the end is recorded."""

import contextlib
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.commands import CancelOrder, RejectOrder
    from domain.errors import Unavailable
    from domain.events import Cancelled, EventData, Failed, Rejected
    from domain.model import as_text
    from domain.payments import PaymentStatus
    from domain.states import State
    from orchestration import timing
    from orchestration.activities.order import GiveBack, OrderActivities
    from orchestration.activities.shipping import ShippingActivities, WithdrawShipment
    from orchestration.contract import CommandMessage
    from orchestration.workflows.order_in_hand import OrderInHand
    from orchestration.workflows.steps import Refused


class OrderEndings(OrderInHand):
    """Cancelled, rejected or failed; never with the card still charged.

    What was done is looked up, not remembered: a workflow task that is lost takes the workflow's
    memory of its local activities with it, but not their effects.
    """

    async def _cancel(self) -> None:
        assert self._cancel_asked is not None  # noqa: S101
        self._ending = "too late: the order is being cancelled"
        command = self._cancel_asked.command
        assert isinstance(command, CancelOrder)  # noqa: S101
        if await self._undo(f"cancelled: {command.reason}"):
            cancelled = Cancelled(reason=command.reason, cancelled_by=command.cancelled_by)
            await self._end(cancelled, self._cancel_asked)
        if self._state is State.CANCELLED:
            self._cancel_asked = None

    async def _reject(self, no: Refused) -> None:
        if no.kind != "Declined":
            await self._fail(f"{no.kind}: {no}")
            return
        self._ending = "too late: the order is being rejected"
        by_bank = self._steps.running == OrderActivities.charge.__name__
        if not by_bank and not await self._undo(str(no)):
            return
        message = self._decision if self._state is State.IN_REVIEW else None
        command = message.command if message else None
        by = command.reviewed_by if isinstance(command, RejectOrder) else None
        rejected = Rejected(reason=as_text(str(no)), reviewed_by=by)
        payment = PaymentStatus.DECLINED if by_bank else None
        await self._end(rejected, message if by else None, payment)
        if by and self._state is State.REJECTED:
            self._decision = None

    async def _fail(self, reason: str) -> None:
        if self._cancel_asked:
            await self._cancel()
            return
        self._ending = "too late: the order is failing"
        if await self._undo(reason):
            await self._end(Failed(reason=as_text(reason)))

    async def _undo(self, reason: str) -> bool:
        """Take back what was done; ``False`` when the parcel is on its way after all."""
        if self._shipment_id:
            parcel = WithdrawShipment(**self._order(), shipment_id=self._shipment_id)
            self._tracking_number = await self._steps.take(ShippingActivities.withdraw, parcel)
            if self._tracking_number:
                return False
        with contextlib.suppress(Unavailable):  # ``_end`` looks what is left to do
            await self._refund(reason, until=self._deadline - timing.LAST_WRITE)
        return True

    async def _end(
        self,
        data: EventData,
        message: CommandMessage | None = None,
        payment: PaymentStatus | None = None,
    ) -> None:
        """Record the end, then settle what is still owed.

        A charge on record has to be given back first, however long it takes; where it is unclear
        whether there was one, the order ends in time and the payment is settled behind it.
        """
        ending = self._event("ended", data, message, payment)
        try:
            ended = await self._steps.take(OrderActivities.end, ending)
        except Refused as no:
            await self._refund(str(no))
            if isinstance(data, Rejected):  # charged in a lost task: no refunded order is rejected
                ending = self._event("ended", Failed(reason=data.reason))
            ended = await self._steps.take(OrderActivities.end, ending)
        self._state, self._owes = ended.state, ended.owes

    async def _settle(self) -> None:
        """Give back what an order that has ended still owes, as long as it takes."""
        await self._refund("the order has ended", ended=True)
        self._owes = False

    async def _refund(
        self, reason: str, *, ended: bool = False, until: datetime | None = None
    ) -> None:
        order = GiveBack(**self._order(), reason=as_text(reason), ended=ended)
        await self._steps.take(OrderActivities.refund, order, until=until)
