from typing import Any

import pytest
from temporalio.api.enums.v1 import WorkflowTaskFailedCause

from domain.errors import Declined, PartnerUnavailable
from tests.unit.orchestration.orders import Orders
from tests.unit.orchestration.partners import (
    Behaviour,
    Call,
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
