"""The bank: charges a card, tells what became of a charge, gives it back.

The payment id is the idempotency key of the charge. That makes an unclear outcome decidable:
``find`` asks by it, and ``void`` closes it, so that a charge still under way cannot land later.
"""

from typing import Protocol

from pydantic import ConfigDict

from domain.errors import Declined
from domain.model import Currency, MinorUnits, Model
from orchestration.gateways.http_partner import HttpPartner, understood
from orchestration.gateways.simulation import SimulatedPartner

DECLINED_AMOUNT = 6666
"""The simulation declines a charge of this amount, as test cards do."""


class Charge(Model):
    """A charge that succeeded; ``amount`` in minor units."""

    model_config = ConfigDict(extra="ignore")

    amount: MinorUnits
    currency: Currency


class Payments(Protocol):
    """Port; see ``sales.Sales`` for what holds for all partners."""

    async def charge(self, payment_id: str, order_id: str, amount: int, currency: str) -> None:
        """Charge the card; ``Declined`` when the bank says no or the payment was voided."""
        ...

    async def find(self, payment_id: str) -> Charge | None:
        """Return the charge if it succeeded, ``None`` if the bank knows of none (yet)."""
        ...

    async def void(self, payment_id: str, order_id: str) -> Charge | None:
        """See to it that nothing is charged under this id from now on.

        Returns the charge that had succeeded before, which then has to be refunded.
        """
        ...

    async def refund(self, key: str, payment_id: str, order_id: str, reason: str) -> None:
        """Give a charge back in full."""
        ...


class HttpPayments(HttpPartner):
    """``POST /charges``, ``GET /charges/{id}``, ``POST /charges/{id}/void`` and ``/refund``."""

    async def charge(self, payment_id: str, order_id: str, amount: int, currency: str) -> None:
        """See the port."""
        body = {
            "payment_id": payment_id,
            "order_id": order_id,
            "amount": amount,
            "currency": currency,
        }
        await self.post("/charges", payment_id, body)

    async def find(self, payment_id: str) -> Charge | None:
        """See the port."""
        found = await self.find_at(f"/charges/{payment_id}")
        return None if found is None else understood(Charge, found)

    async def void(self, payment_id: str, order_id: str) -> Charge | None:
        """See the port."""
        path, body = f"/charges/{payment_id}/void", {"order_id": order_id}
        standing = await self.undo(path, f"{payment_id}:void", body)
        return None if standing is None else understood(Charge, standing)

    async def refund(self, key: str, payment_id: str, order_id: str, reason: str) -> None:
        """See the port."""
        body = {"order_id": order_id, "reason": reason}
        await self.post(f"/charges/{payment_id}/refund", key, body)


class SimulatedPayments(SimulatedPartner):
    """A bank whose books are the ledger; charge and void of a payment exclude each other."""

    async def charge(self, payment_id: str, order_id: str, amount: int, currency: str) -> None:
        """See the port."""
        if amount == DECLINED_AMOUNT:
            raise Declined("the bank declined the card")
        detail = {"amount": amount, "currency": currency}
        if (await self.once(payment_id, "charge", order_id, detail)).operation == "void":
            raise Declined(f"payment {payment_id} was voided")

    async def find(self, payment_id: str) -> Charge | None:
        """See the port."""
        entry = await self.answer(lambda: self.ledger.find(payment_id))
        return (
            Charge.model_validate(entry.detail) if entry and entry.operation == "charge" else None
        )

    async def void(self, payment_id: str, order_id: str) -> Charge | None:
        """See the port."""
        entry = await self.once(payment_id, "void", order_id, {})
        return Charge.model_validate(entry.detail) if entry.operation == "charge" else None

    async def refund(self, key: str, payment_id: str, order_id: str, reason: str) -> None:
        """See the port."""
        charge = await self.ledger.find(payment_id)
        if charge is None or charge.operation != "charge":
            raise Declined(f"there is no charge {payment_id}")
        await self.once(key, "refund", order_id, {**charge.detail, "reason": reason})
