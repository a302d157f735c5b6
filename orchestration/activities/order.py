"""The steps of an order up to the charge, its confirmation, and giving money back."""

from typing import Final

from pydantic import AwareDatetime
from temporalio import activity

from domain.errors import Rejected
from domain.events import (
    TYPE_OF,
    CommandRejected,
    PaymentCharged,
    PaymentRefunded,
    Received,
    Shipped,
    Validated,
)
from domain.model import Address, CommandId, Currency, MinorUnits, Model, total
from domain.payments import PaymentStatus
from domain.states import TERMINAL, State
from orchestration.activities.base import Activities, Budget, OrderInput, Write
from orchestration.gateways.payments import Charge
from orchestration.gateways.sales import Basket
from persistence.errors import database_errors
from persistence.payments import Payment, get_payment, intend_charge, intend_refund, move_payment
from persistence.queries import get_order, outcome_of

REFUSAL: Final = TYPE_OF[CommandRejected]


class OpenOrder(OrderInput):
    """The start to be applied."""

    command_id: CommandId
    address: Address
    deadline: AwareDatetime


_SETTLED: Final = frozenset({PaymentStatus.DECLINED, PaymentStatus.VOID, PaymentStatus.REFUNDED})


class Bill(OrderInput):
    """What to charge, or to give back."""

    payment_id: str
    amount: MinorUnits
    currency: Currency


class Opened(Model):
    """The order as it stands once its start is applied: usually just received.

    It stands elsewhere when a task that had got further was lost, or a whole run. Then a person
    may have been asked already (``decide_by``), there may be a parcel (``shipment_id``, with
    ``tracking_number`` once it is on its way), or money to be given back though the order has
    ended (``owes``).
    """

    state: State
    deadline: AwareDatetime
    decide_by: AwareDatetime | None = None
    shipment_id: str | None = None
    tracking_number: str | None = None
    owes: bool = False


class ValidateOrder(OrderInput):
    """What to screen."""

    basket: Basket
    address: Address


class GiveBack(OrderInput):
    """The order's payment is to be undone; ``ended``: its story is over, only money is left."""

    reason: str
    ended: bool = False


class Ended(Model):
    """How the order really ended, and whether its payment is not settled yet."""

    state: State | None
    owes: bool


class ConfirmOrder(OrderInput):
    """An order that the carrier has."""

    tracking_number: str


class CommandOfOrder(OrderInput):
    """A command that was given to an order."""

    command_id: str


class StateAsked(OrderInput):
    """An order whose state is asked for, and the command on whose behalf."""

    command_id: str | None = None


def payment_id(order_id: str) -> str:
    """Return the id of an order's one payment, which is the idempotency key of its charge."""
    return f"{order_id}:charge"


class OrderActivities(Activities):
    """Activities of ``OrderWorkflow``."""

    @activity.defn
    async def open(self, order: OpenOrder) -> Opened:
        """Apply the start: the first write.

        Raises ``AlreadyStarted``, or ``Rejected`` when its command id was refused before.
        """
        data = Received(address=order.address, deadline=order.deadline)
        recorded = await self.write("received", order, data, order.command_id)
        if not recorded.repeated:
            return Opened(state=State.RECEIVED, deadline=order.deadline)
        standing = await get_order(self.pool, order.order_id)
        if standing is None:  # another command of this id was, for which no start came
            raise Rejected("the command has been rejected before")
        return Opened(
            state=standing.state,
            deadline=standing.deadline,
            decide_by=standing.decide_by,
            shipment_id=standing.shipment_id,
            tracking_number=standing.tracking_number,
            owes=standing.state in TERMINAL and await self._owes(order.order_id),
        )

    @activity.defn
    async def find_state(self, order: StateAsked) -> State | None:
        """Return the state of an order that may not exist, or has heard this command already."""
        standing = await get_order(self.pool, order.order_id)
        if standing is None:
            return None
        if order.command_id and await self._came_to(order, order.command_id) not in (None, REFUSAL):
            return None
        return standing.state

    @activity.defn(name="has_outcome")
    async def was_refused(self, command: CommandOfOrder) -> bool:
        """Tell whether a command has been refused."""
        return await self._came_to(command, command.command_id) == REFUSAL

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
        status = await intend_charge(
            self.pool, bill.payment_id, bill.order_id, bill.amount, bill.currency
        )
        if status is PaymentStatus.CHARGED:
            return
        if status is not PaymentStatus.CHARGING:
            raise Rejected(f"payment {bill.payment_id} is {status} already")
        await self._stop_if_ended(bill)
        await self.ask(
            "payments.charge",
            budget,
            lambda: self.gateways.payments.charge(
                bill.payment_id, bill.order_id, bill.amount, bill.currency
            ),
        )
        await self._record_charged(bill, bill)

    @activity.defn
    async def refund(self, order: GiveBack) -> None:
        """See to it that nothing is and will be charged.

        What stands in ``payments`` decides, not what the workflow remembers: a task that had
        charged may have been lost. An unclear charge is asked for by its id first and closed
        when the bank knows of none; one that succeeded late is written down as charged, then
        given back.
        """
        budget = Budget()
        payment = await get_payment(self.pool, payment_id(order.order_id))
        if payment is None or payment.status in _SETTLED:
            return
        if payment.status is PaymentStatus.CHARGING:
            if await self._charge_after_all(payment, budget) is None:
                await move_payment(self.pool, payment.payment_id, PaymentStatus.VOID)
                return
            if not order.ended:
                await self._record_charged(order, payment)
        await self._give_back(order, payment, budget)

    @activity.defn
    async def end(self, ending: Write) -> Ended:
        """Write an end that is not ``shipped``, and look whether money is owed behind it.

        The first end written stands. ``charge`` looks for the end after it wrote its intent,
        this looks for an intent after it wrote the end: one of them sees the other.
        """
        state = await self.record(ending)
        return Ended(state=state, owes=await self._owes(ending.order_id))

    @activity.defn
    async def request_review(self, request: Write) -> AwareDatetime | None:
        """Write that a person is asked; returns until when, as it was first written.

        ``None``: the review is over, the task that had asked and what came of it were lost.
        """
        await self.record(request)
        return await self.find_review(request)

    @activity.defn
    async def find_review(self, order: OrderInput) -> AwareDatetime | None:
        """Return until when a person is asked about an order, ``None`` when nobody is."""
        standing = await get_order(self.pool, order.order_id)
        return standing.decide_by if standing else None

    @activity.defn
    async def approve(self, approval: Write) -> AwareDatetime:
        """Write a reviewer's approval; returns the order's deadline, as it was first written."""
        await self.record(approval)
        standing = await get_order(self.pool, approval.order_id)
        assert standing is not None  # noqa: S101 - it has just been approved
        return standing.deadline

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

    async def _came_to(self, order: OrderInput, command_id: str) -> str | None:
        found = await outcome_of(self.pool, order.order_id, command_id)
        return found.type if found else None

    async def _owes(self, order_id: str) -> bool:
        payment = await get_payment(self.pool, payment_id(order_id))
        order = await get_order(self.pool, order_id)
        if payment is None or order is None or order.state is State.SHIPPED:
            return False
        return payment.status not in _SETTLED

    async def _stop_if_ended(self, bill: Bill) -> None:
        """Charge nothing for an order that ended while this charge was under way elsewhere.

        An earlier attempt may still reach the bank: there too the payment is closed, or given
        back. Where the bank does not answer, the reconciler finds it later.
        """
        standing = await get_order(self.pool, bill.order_id)
        if standing is not None and standing.state in TERMINAL:
            reason = f"the order is {standing.state}"
            order = GiveBack(
                order_id=bill.order_id, traceparent=bill.traceparent, reason=reason, ended=True
            )
            await self.refund(order)
            raise Rejected(reason)

    async def _charge_after_all(self, payment: Payment, budget: Budget) -> Charge | None:
        bank, name = self.gateways.payments, payment.payment_id
        found = await self.insist("payments.find", budget, lambda: bank.find(name))
        if found is not None:
            return found
        return await self.insist("payments.void", budget, lambda: bank.void(name, payment.order_id))

    async def _record_charged(self, order: OrderInput, bill: Bill | Payment) -> None:
        data = PaymentCharged(
            payment_id=bill.payment_id, amount=bill.amount, currency=bill.currency
        )
        await self.write("charged", order, data, payment=PaymentStatus.CHARGED)

    async def _give_back(self, order: GiveBack, payment: Payment, budget: Budget) -> None:
        name, key = payment.payment_id, f"{order.order_id}:refund"
        with database_errors(order.order_id):
            async with self.pool.acquire() as conn, conn.transaction():
                # Together: an ended order's payment is never seen as charged, but as unsettled.
                if payment.status is PaymentStatus.CHARGING and order.ended:
                    await move_payment(conn, name, PaymentStatus.CHARGED)
                await intend_refund(conn, name)
        await self.insist(
            "payments.refund",
            budget,
            lambda: self.gateways.payments.refund(key, name, order.order_id, order.reason),
        )
        if order.ended:
            await move_payment(self.pool, name, PaymentStatus.REFUNDED)
            return
        data = PaymentRefunded(
            payment_id=name,
            amount=payment.amount,
            currency=payment.currency,
            reason=order.reason,
        )
        await self.write("refunded", order, data, payment=PaymentStatus.REFUNDED)
