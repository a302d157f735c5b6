"""How an order ends that is not shipped: what was done is undone, then the end is recorded."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.commands import CancelOrder, RejectOrder
    from domain.errors import Unavailable
    from domain.events import Cancelled, EventData, Failed, Rejected
    from domain.payments import PaymentStatus
    from domain.states import State
    from orchestration import timing
    from orchestration.activities.order import GiveBack, OrderActivities
    from orchestration.activities.shipping import ShippingActivities, WithdrawShipment
    from orchestration.contract import CommandMessage
    from orchestration.workflows.order_in_hand import OrderInHand
    from orchestration.workflows.steps import Refused


class OrderEndings(OrderInHand):
    """Cancelled, rejected or failed; never with the card still charged."""

    _owes = False

    async def _cancel(self) -> None:
        assert self._cancel_asked is not None  # noqa: S101
        self._ending = "too late: the order is being cancelled"
        command = self._cancel_asked.command
        assert isinstance(command, CancelOrder)  # noqa: S101
        if await self._undo(f"cancelled: {command.reason}"):
            cancelled = Cancelled(reason=command.reason, cancelled_by=command.cancelled_by)
            await self._end(cancelled, State.CANCELLED, self._cancel_asked)
            self._cancel_asked = None

    async def _reject(self, no: Refused) -> None:
        if no.kind != "Declined":
            await self._fail(f"{no.kind}: {no}")
            return
        self._ending = "too late: the order is being rejected"
        command = self._decision.command if self._decision else None
        by = command.reviewed_by if isinstance(command, RejectOrder) else None
        rejected = Rejected(reason=str(no)[:500], reviewed_by=by)
        message = self._decision if isinstance(command, RejectOrder) else None
        payment = PaymentStatus.DECLINED if self._bill else None
        await self._end(rejected, State.REJECTED, message, payment)
        if message is not None:
            self._decision = None

    async def _fail(self, reason: str) -> None:
        if self._cancel_asked:
            await self._cancel()
            return
        self._ending = "too late: the order is failing"
        if await self._undo(reason):
            await self._end(Failed(reason=reason[:500]), State.FAILED)

    async def _undo(self, reason: str) -> bool:
        """Take back what was done; ``False`` when the parcel is on its way after all."""
        if self._shipment_id:
            parcel = WithdrawShipment(**self._order(), shipment_id=self._shipment_id)
            self._tracking_number = await self._steps.take(ShippingActivities.withdraw, parcel)
            if self._tracking_number:
                return False
        if self._bill:
            refund = GiveBack(**self._order(), bill=self._bill, reason=reason[:500])
            try:
                until = self._deadline - timing.LAST_WRITE
                await self._steps.take(OrderActivities.refund, refund, until=until)
            except Unavailable:
                self._owes = True
        return True

    async def _end(
        self,
        data: EventData,
        state: State,
        message: CommandMessage | None = None,
        payment: PaymentStatus | None = None,
    ) -> None:
        """Record the end; money that is still owed is given back before, or after in time of need.

        A charge on record has to be given back first, however long it takes; where it is unclear
        whether there was one, the order ends in time and the payment is settled behind it.
        """
        try:
            await self._write("ended", data, message, payment)
        except Refused:
            await self._refund_at_last(str(data), ended=False)
            await self._write("ended", data, message, payment)
        self._state = state
        if self._owes:
            await self._refund_at_last(str(data), ended=True)

    async def _refund_at_last(self, reason: str, *, ended: bool) -> None:
        assert self._bill is not None  # noqa: S101
        refund = GiveBack(**self._order(), bill=self._bill, reason=reason[:500], ended=ended)
        await self._steps.take(OrderActivities.refund, refund)
        self._owes = False
