"""Payment rows: the intent is written before the bank is asked, so that no outcome is lost."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from domain.errors import Rejected
from domain.payments import PaymentStatus
from persistence.errors import database_errors
from persistence.pool import Executor


@dataclass(frozen=True, slots=True)
class Payment:
    """A row of payments; ``amount`` in minor units of ``currency``."""

    payment_id: str
    order_id: str
    status: PaymentStatus
    amount: int
    currency: str
    created_at: datetime
    updated_at: datetime


async def intend_charge(
    conn: Executor, payment_id: str, order_id: str, amount: int, currency: str
) -> PaymentStatus:
    """Write that the card is about to be charged; repeated, return the status that stands.

    Raises ``Rejected`` when the order has another payment, or this one over another amount;
    ``Unavailable`` when it is unknown whether it was written: repeat it.
    """
    with database_errors(order_id):
        status = await conn.fetchval(
            "select intend_charge($1, $2, $3, $4)", payment_id, order_id, amount, currency
        )
    return PaymentStatus(status)


async def intend_refund(conn: Executor, payment_id: str) -> PaymentStatus:
    """Write that the charge is about to be given back.

    Returns ``refunding``, or ``refunded`` when that stands already. Raises ``Rejected`` when
    there is nothing to give back, ``Unavailable`` as ``intend_charge``.
    """
    return await move_payment(conn, payment_id, PaymentStatus.REFUNDING)


async def move_payment(conn: Executor, payment_id: str, status: PaymentStatus) -> PaymentStatus:
    """Move a payment outside of an event, as when a charge succeeds after its order was failed.

    Returns the status that stands now. Raises ``Rejected`` when the move is not allowed or
    there is no such payment, ``Unavailable`` as ``intend_charge``.
    """
    with database_errors():
        standing = await conn.fetchval("select move_payment($1, $2)", payment_id, status)
    if standing is None:
        raise Rejected(f"there is no payment {payment_id}")
    return PaymentStatus(standing)


_PAYMENT: Final = """
select payment_id, order_id, status, amount, currency, created_at, updated_at from payments
"""


async def get_payment(conn: Executor, payment_id: str) -> Payment | None:
    """Return the payment, or ``None``."""
    with database_errors():
        row = await conn.fetchrow(_PAYMENT + "where payment_id = $1", payment_id)
    return payment_from(dict(row)) if row else None


def payment_from(columns: dict[str, Any]) -> Payment:
    """Return the payment that the columns of a row say."""
    return Payment(**{**columns, "status": PaymentStatus(columns["status"])})
