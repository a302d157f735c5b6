"""Payments: the intent stands before the bank is asked, once per order."""

import asyncio

import asyncpg
import pytest

from domain.errors import Rejected
from domain.payments import PaymentStatus
from persistence.payments import get_payment, intend_charge, intend_refund, move_payment
from persistence.write import record
from tests.integration.persistence.stories import received


async def test_an_intent_repeated_returns_what_stands(db: asyncpg.Pool) -> None:
    await record(db, received("A-1"))
    assert await intend_charge(db, "p", "A-1", 100, "USD") == PaymentStatus.CHARGING
    assert await intend_charge(db, "p", "A-1", 100, "USD") == PaymentStatus.CHARGING
    await move_payment(db, "p", PaymentStatus.CHARGED)
    assert await intend_charge(db, "p", "A-1", 100, "USD") == PaymentStatus.CHARGED
    assert await intend_refund(db, "p") == PaymentStatus.REFUNDING
    assert await intend_refund(db, "p") == PaymentStatus.REFUNDING
    await move_payment(db, "p", PaymentStatus.REFUNDED)
    assert await intend_refund(db, "p") == PaymentStatus.REFUNDED
    assert await intend_charge(db, "p", "A-1", 100, "USD") == PaymentStatus.REFUNDED


async def test_many_intents_at_once_make_one_payment(db: asyncpg.Pool) -> None:
    await record(db, received("A-1"))
    intents = [intend_charge(db, f"p{n % 2}", "A-1", 100, "USD") for n in range(8)]
    results = await asyncio.gather(*intents, return_exceptions=True)
    assert results.count(PaymentStatus.CHARGING) == 4
    assert sum(isinstance(result, Rejected) for result in results) == 4
    assert await db.fetchval("select count(*) from payments") == 1


@pytest.mark.parametrize(
    ("payment_id", "amount", "currency"),
    [("p", 101, "USD"), ("p", 100, "EUR"), ("q", 100, "USD")],
)
async def test_an_intent_that_contradicts_the_first_is_refused(
    db: asyncpg.Pool, payment_id: str, amount: int, currency: str
) -> None:
    await record(db, received("A-1"))
    await intend_charge(db, "p", "A-1", 100, "USD")
    with pytest.raises(Rejected, match="stands against"):
        await intend_charge(db, payment_id, "A-1", amount, currency)


async def test_there_is_nothing_to_refund_before_the_charge(db: asyncpg.Pool) -> None:
    await record(db, received("A-1"))
    with pytest.raises(Rejected, match="no payment"):
        await intend_refund(db, "p")
    await intend_charge(db, "p", "A-1", 100, "USD")
    with pytest.raises(Rejected, match="may not become refunding"):
        await intend_refund(db, "p")


async def test_a_charge_that_succeeds_after_it_was_given_up_can_be_refunded(
    db: asyncpg.Pool,
) -> None:
    await record(db, received("A-1"))
    await intend_charge(db, "p", "A-1", 100, "USD")
    for status in (PaymentStatus.VOID, PaymentStatus.CHARGED):
        await move_payment(db, "p", status)
    assert await intend_refund(db, "p") == PaymentStatus.REFUNDING
    await move_payment(db, "p", PaymentStatus.REFUNDED)
    payment = await get_payment(db, "p")
    assert payment is not None
    assert (payment.status, payment.amount) == (PaymentStatus.REFUNDED, 100)
