from typing import Any

import pytest
from temporalio.api.enums.v1 import WorkflowTaskFailedCause

from domain.errors import Declined, PartnerUnavailable
from orchestration.contract import workflow_id
from tests.unit.orchestration.orders import Orders
from tests.unit.orchestration.partners import (
    Behaviour,
    Call,
    Gate,
    declines,
    hangs,
    hangs_after_effect,
    raises,
    raises_after_effect,
)


async def says_no_at_length(_: Call) -> Any:
    raise Declined("sold out\n\tfor good\x00" + "!" * 500)


async def fails_at_length(_: Call) -> Any:
    raise PartnerUnavailable("deadlock detected\nDETAIL:  it waits" + "!" * 500)


async def test_a_no_in_several_lines_rejects_as_any_other(orders: Orders) -> None:
    orders.script.always["screening.validate"] = says_no_at_length
    await orders.start("A")
    assert await orders.ends("A") == "rejected"
    assert (await orders.last("A")).data.reason.startswith("sold out for good !!")


async def test_trouble_told_in_several_lines_ends_an_order_as_any_other(orders: Orders) -> None:
    orders.hurry()
    orders.script.always["carrier.dispatch"] = fails_at_length
    await orders.start("A")
    assert await orders.ends("A") == "failed"
    assert await orders.payment("A") == "refunded"
    assert await orders.decided_in_time("A")


@pytest.mark.parametrize("refused", ["payments.refund", "carrier.withdraw"])
async def test_who_refuses_to_undo_is_asked_again_until_it_is_done(
    orders: Orders, refused: str
) -> None:
    orders.hurry()
    orders.script.always["carrier.dispatch"] = raises
    orders.script.next[refused] = [declines, declines]
    await orders.start("A")
    assert await orders.ends("A") == "failed"
    assert await orders.books("A") == ["charge", "prepare", "withdraw", "refund"]
    assert await orders.payment("A") == "refunded"
    broke = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
    for told in await orders.histories():
        failed = [e.workflow_task_failed_event_attributes.cause for e in told.events]
        assert broke not in failed  # the workflow itself has to take the refusal


async def test_a_declined_card_rejects_the_order(orders: Orders) -> None:
    await orders.start("A", amount=6666)
    assert await orders.ends("A") == "rejected"
    assert (await orders.last("A")).data.reason == "the bank declined the card"
    assert await orders.payment("A") == "declined"
    assert await orders.books("A") == []


async def test_an_order_that_cannot_be_fulfilled_is_rejected(orders: Orders) -> None:
    orders.script.always["screening.validate"] = declines
    await orders.start("A")
    assert await orders.ends("A") == "rejected"
    assert await orders.story("A") == ["received", "rejected"]


@pytest.mark.parametrize("trouble", [raises_after_effect, hangs_after_effect, raises, hangs])
@pytest.mark.parametrize(
    "operation",
    [
        "sales.receive",
        "screening.validate",
        "payments.charge",
        "warehouse.prepare",
        "carrier.dispatch",
        "sales.confirm_shipped",
    ],
)
async def test_partners_that_fail_now_and_then_are_asked_again_and_do_it_once(
    orders: Orders, operation: str, trouble: Behaviour
) -> None:
    orders.script.next[operation] = [trouble] * 3
    await orders.start("A")
    assert await orders.ends("A") == "shipped"
    assert await orders.books("A") == ["charge", "prepare", "dispatch", "confirm_shipped"]
    assert orders.script.calls[operation] >= 4


@pytest.mark.parametrize("trouble", [raises, hangs])
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


async def test_a_cancel_while_the_bank_is_asked_gives_the_money_back(orders: Orders) -> None:
    orders.script.always["payments.charge"] = hangs_after_effect
    await orders.start("A")
    await orders.reaches("A", "validated")
    await orders.cancel("A", command_id="stop")
    assert await orders.ends("A") == "cancelled"
    assert await orders.story("A") == [
        "received",
        "validated",
        "payment_charged",
        "payment_refunded",
        "cancelled",
    ]
    assert await orders.payment("A") == "refunded"
    assert await orders.books("A") == ["charge", "refund"]
    assert (await orders.last("A")).command_id == "stop"


@pytest.mark.parametrize("trouble", [raises_after_effect, hangs_after_effect])
async def test_a_refund_of_which_nothing_is_heard_is_given_once(
    orders: Orders, trouble: Behaviour
) -> None:
    orders.script.always["warehouse.prepare"] = raises
    orders.script.next["payments.refund"] = [trouble] * 3
    await orders.start("A")
    await orders.reaches("A", "payment_charged")
    await orders.cancel("A")
    assert await orders.ends("A") == "cancelled"
    assert orders.script.calls["payments.refund"] >= 4
    assert (await orders.books("A")).count("refund") == 1
    assert await orders.payment("A") == "refunded"
