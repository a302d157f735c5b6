"""The steps of an order up to the charge, its confirmation, and giving money back."""

from pydantic import AwareDatetime
from temporalio import activity

from domain.errors import Declined
from domain.events import PaymentCharged, PaymentRefunded, Received, Shipped, Validated
from domain.model import Address, CommandId, Currency, MinorUnits, Model, total
from domain.payments import PaymentStatus
from domain.states import State
from orchestration.activities.base import Activities, Budget, OrderInput
from orchestration.gateways.payments import Charge
from orchestration.gateways.sales import Basket
from persistence.payments import get_payment, intend_charge, intend_refund, move_payment
from persistence.queries import get_order


class OpenOrder(OrderInput):
    """The start to be applied."""

    command_id: CommandId
    address: Address
    deadline: AwareDatetime


class Bill(OrderInput):
    """What to charge, or to give back."""

    payment_id: str
    amount: MinorUnits
    currency: Currency


class Opened(Model):
    """The order as it stands once its start is applied: usually just received.

    It stands elsewhere when an earlier run of its workflow was lost; then it may have a charge
    (``bill``) and a parcel on its way.
    """

    state: State
    deadline: AwareDatetime
    shipment_id: str | None = None
    bill: Bill | None = None


class ValidateOrder(OrderInput):
    """What to screen."""

    basket: Basket
    address: Address


class GiveBack(OrderInput):
    """A payment to be undone; ``ended``: the order's story is over, only money is left."""

    bill: Bill
    reason: str
    ended: bool = False


class ConfirmOrder(OrderInput):
    """An order that the carrier has."""

    tracking_number: str


def payment_id(order_id: str) -> str:
    """Return the id of an order's one payment, which is the idempotency key of its charge."""
    return f"{order_id}:charge"


class OrderActivities(Activities):
    """Activities of ``OrderWorkflow``."""

    @activity.defn
    async def open(self, order: OpenOrder) -> Opened:
        """Apply the start: the first write. Raises ``AlreadyStarted``."""
        data = Received(address=order.address, deadline=order.deadline)
        recorded = await self.write("received", order, data, order.command_id)
        if not recorded.repeated:
            return Opened(state=State.RECEIVED, deadline=order.deadline)
        standing = await get_order(self.pool, order.order_id)
        if standing is None:  # the command was rejected in a run that never saw a start
            await self.write("received", order, data)
            return Opened(state=State.RECEIVED, deadline=order.deadline)
        return Opened(
            state=standing.state,
            deadline=standing.deadline,
            shipment_id=standing.shipment_id,
            bill=await self._standing_bill(order),
        )

    @activity.defn
    async def find_state(self, order: OrderInput) -> State | None:
        """Return the state of an order that may not exist."""
        standing = await get_order(self.pool, order.order_id)
        return standing.state if standing else None

    @activity.defn
    async def receive(self, order: OrderInput) -> Basket:
        """Ask sales what was ordered."""
        key = f"{order.order_id}:receive"
        return await self.ask(
            "sales.receive",
            Budget(),
            lambda: self.gateways.sales.receive(key, order.order_id),
        )

    @activity.defn
    async def validate(self, order: ValidateOrder) -> None:
        """Have the order screened; raises ``Declined``."""
        key, items = f"{order.order_id}:validate", order.basket.items
        await self.ask(
            "screening.validate",
            Budget(),
            lambda: self.gateways.screening.validate(key, order.order_id, items, order.address),
        )
        data = Validated(items=items, amount=total(items), currency=order.basket.currency)
        await self.write("validated", order, data)

    @activity.defn
    async def charge(self, bill: Bill) -> None:
        """Charge the card: intent, call, outcome; raises ``Declined``.

        Died after the intent: the row says ``charging``, and a repetition asks the bank under
        the same id, or ``refund`` finds out what became of it.
        """
        budget = Budget()
        status = await self._intend(bill)
        if status is PaymentStatus.CHARGED:
            return
        if status is not PaymentStatus.CHARGING:
            raise Declined(f"payment {bill.payment_id} is {status}")
        await self.ask(
            "payments.charge",
            budget,
            lambda: self.gateways.payments.charge(
                bill.payment_id, bill.order_id, bill.amount, bill.currency
            ),
        )
        await self._record_charged(bill)

    @activity.defn
    async def refund(self, order: GiveBack) -> PaymentStatus:
        """See to it that nothing is and will be charged; returns where the payment ended.

        An unclear charge is asked for by its id first and closed when the bank knows of none;
        one that succeeded late is written down as charged, then given back.
        """
        bill, budget = order.bill, Budget()
        status = await self._intend(bill)
        if status is PaymentStatus.CHARGING:
            if await self._charge_after_all(bill, budget) is None:
                return await move_payment(self.pool, bill.payment_id, PaymentStatus.VOID)
            if order.ended:
                await move_payment(self.pool, bill.payment_id, PaymentStatus.CHARGED)
            else:
                await self._record_charged(bill)
        elif status in (PaymentStatus.VOID, PaymentStatus.DECLINED):
            return status
        await self._give_back(order, budget)
        return PaymentStatus.REFUNDED

    @activity.defn
    async def confirm(self, order: ConfirmOrder) -> None:
        """Write that the order is shipped, then tell sales."""
        data = Shipped(tracking_number=order.tracking_number)
        await self.write("shipped", order, data)
        key = f"{order.order_id}:confirm"
        await self.ask(
            "sales.confirm_shipped",
            Budget(),
            lambda: self.gateways.sales.confirm_shipped(key, order.order_id, order.tracking_number),
        )

    async def _standing_bill(self, order: OrderInput) -> Bill | None:
        found = await get_payment(self.pool, payment_id(order.order_id))
        if found is None:
            return None
        return Bill(
            order_id=order.order_id,
            traceparent=order.traceparent,
            payment_id=found.payment_id,
            amount=found.amount,
            currency=found.currency,
        )

    async def _intend(self, bill: Bill) -> PaymentStatus:
        return await intend_charge(
            self.pool, bill.payment_id, bill.order_id, bill.amount, bill.currency
        )

    async def _charge_after_all(self, bill: Bill, budget: Budget) -> Charge | None:
        bank = self.gateways.payments
        found = await self.ask("payments.find", budget, lambda: bank.find(bill.payment_id))
        if found is not None:
            return found
        return await self.ask(
            "payments.void", budget, lambda: bank.void(bill.payment_id, bill.order_id)
        )

    async def _record_charged(self, bill: Bill) -> None:
        data = PaymentCharged(
            payment_id=bill.payment_id, amount=bill.amount, currency=bill.currency
        )
        await self.write("charged", bill, data, payment=PaymentStatus.CHARGED)

    async def _give_back(self, order: GiveBack, budget: Budget) -> None:
        bill, key = order.bill, f"{order.order_id}:refund"
        await intend_refund(self.pool, bill.payment_id)
        await self.ask(
            "payments.refund",
            budget,
            lambda: self.gateways.payments.refund(
                key, bill.payment_id, order.order_id, order.reason
            ),
        )
        if order.ended:
            await move_payment(self.pool, bill.payment_id, PaymentStatus.REFUNDED)
            return
        data = PaymentRefunded(
            payment_id=bill.payment_id,
            amount=bill.amount,
            currency=bill.currency,
            reason=order.reason,
        )
        await self.write("refunded", order, data, payment=PaymentStatus.REFUNDED)
