"""Partners that stay silent: each order waits out its time, so these take theirs."""

import pytest

from orchestration.contract import workflow_id
from tests.unit.orchestration.orders import Orders
from tests.unit.orchestration.partners import (
    Behaviour,
    Gate,
    hangs,
    hangs_after_effect,
    raises,
    raises_after_effect,
)


@pytest.mark.parametrize("trouble", [raises, pytest.param(hangs, marks=pytest.mark.chaos)])
@pytest.mark.parametrize(
    ("operation", "payment"),
    [
        ("sales.receive", None),
        ("screening.validate", None),
        ("payments.charge", "void"),
        ("warehouse.prepare", "refunded"),
        ("carrier.dispatch", "refunded"),
    ],
)
async def test_a_dead_partner_ends_the_order_in_time_with_the_money_back(
    orders: Orders, operation: str, payment: str | None, trouble: Behaviour
) -> None:
    orders.hurry()
    orders.script.always[operation] = trouble
    await orders.start("A")
    assert await orders.ends("A") == "failed"
    assert await orders.decided_in_time("A")
    assert await orders.payment("A") == payment
    said = "told to raise" if trouble is raises else "no answer within"
    assert said in (await orders.last("A")).data.reason


@pytest.mark.parametrize("trouble", [raises_after_effect, hangs_after_effect])
async def test_a_charge_that_succeeded_unheard_is_recorded_and_refunded(
    orders: Orders, trouble: Behaviour
) -> None:
    orders.hurry()
    orders.script.always["payments.charge"] = trouble
    await orders.start("A")
    assert await orders.ends("A") == "failed"
    assert await orders.story("A") == [
        "received",
        "validated",
        "payment_charged",
        "payment_refunded",
        "failed",
    ]
    assert await orders.books("A") == ["charge", "refund"]
    assert await orders.payment("A") == "refunded"
    assert await orders.decided_in_time("A")


async def test_a_dispatch_that_succeeded_unheard_ships_the_order(orders: Orders) -> None:
    orders.hurry()
    orders.script.always["carrier.dispatch"] = hangs_after_effect
    await orders.start("A")
    assert await orders.ends("A") == "shipped"
    assert await orders.books("A") == ["charge", "prepare", "dispatch", "confirm_shipped"]
    assert await orders.payment("A") == "charged"


async def test_a_bank_gone_for_good_does_not_hold_up_an_order_it_may_not_have_charged(
    orders: Orders,
) -> None:
    orders.hurry()
    back = Gate()
    orders.script.always["payments.charge"] = hangs_after_effect
    for operation in ("payments.find", "payments.void", "payments.refund"):
        orders.script.always[operation] = back
    await orders.start("A")
    await orders.reaches("A", "failed")
    deadline = (await orders.events("A"))[0].data.deadline
    assert (await orders.events("A"))[-1].at <= deadline
    assert await orders.payment("A") == "charging"
    back.opened.set()
    assert await orders.ends("A") == "failed"
    assert await orders.payment("A") == "refunded"
    assert await orders.books("A") == ["charge", "refund"]


async def test_a_carrier_that_does_not_say_whether_it_has_the_parcel_is_waited_for(
    orders: Orders,
) -> None:
    orders.policy = orders.policy.model_copy(update={"timeout_seconds": 8})
    orders.script.always["carrier.dispatch"] = hangs
    orders.script.always["carrier.withdraw"] = back = Gate()
    await orders.start("A")
    await orders.has(workflow_id(orders.id("A")), "child_workflow_execution_timed_out")
    await orders.goes_on(workflow_id(orders.id("A")))
    assert await orders.payment("A") == "charged"
    back.opened.set()
    assert await orders.ends("A") == "failed"
    assert await orders.books("A") == ["charge", "prepare", "withdraw", "refund"]
    assert await orders.payment("A") == "refunded"
