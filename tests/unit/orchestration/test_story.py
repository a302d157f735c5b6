import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from domain.events import Approved, Failed, PaymentCharged, Received
from domain.payments import PaymentStatus
from orchestration.contract import Delivery, Status
from persistence.payments import intend_charge
from persistence.write import Change, record
from tests.support.waiting import until
from tests.unit.orchestration.conftest import serving
from tests.unit.orchestration.orders import ELSEWHERE, HOME, Orders
from tests.unit.orchestration.partners import Gate

BEGUN = ["received", "validated"]
DELIVERED = ["payment_charged", "shipment_prepared", "dispatched", "shipped"]
IN_REVIEW = [*BEGUN, "review_requested"]
DEAR = 90_000
LONG_AGO = timedelta(days=3)


async def test_an_order_ships(orders: Orders) -> None:
    await orders.start("A")
    assert await orders.ends("A") == "shipped"
    assert await orders.story("A") == BEGUN + DELIVERED
    assert await orders.payment("A") == "charged"
    assert await orders.books("A") == ["charge", "prepare", "dispatch", "confirm_shipped"]


async def test_the_sunny_path_stays_small(orders: Orders) -> None:
    await orders.start("A")
    await orders.ends("A")
    events = [event for history in await orders.histories() for event in history.events]
    tasks = [e for e in events if e.HasField("workflow_task_completed_event_attributes")]
    assert len(events) <= 30
    assert len(tasks) <= 5


@pytest.mark.parametrize(
    ("review", "amount", "asked"),
    [("auto", DEAR, False), ("above", 50_000, False), ("above", 50_001, True), ("manual", 1, True)],
)
async def test_the_policy_says_who_is_reviewed(
    orders: Orders, review: str, amount: int, asked: bool
) -> None:
    orders.policy = orders.policy.model_copy(update={"review": review})
    await orders.start("A", amount=amount)
    if asked:
        await orders.reaches("A", "review_requested")
        await orders.approve("A")
    assert await orders.ends("A") == "shipped"
    assert ("review_requested" in await orders.story("A")) == asked


async def test_the_clock_stands_still_while_a_person_is_asked(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)
    await orders.reaches("A", "review_requested")
    deadline = (await orders.events("A"))[0].data.deadline
    await orders.approve("A")
    assert await orders.ends("A") == "shipped"
    story = await orders.story("A")
    assert story == [*IN_REVIEW, "approved", *DELIVERED]
    asked, approved = (await orders.events("A"))[2:4]
    assert asked.data.reason == "900.00 USD is above 500.00"
    assert approved.data.deadline > deadline
    assert await orders.decided_in_time("A")


async def test_a_lost_task_that_had_asked_for_a_review_costs_the_order_none_of_its_time(
    orders: Orders,
) -> None:
    """All it did is written, all is done again, and by the order's first deadline too late."""
    orders.policy = orders.policy.model_copy(update={"review_timeout_seconds": 1_000_000})
    start = await orders.was_asked("A", LONG_AGO, amount=DEAR)
    await orders.send(start)
    await orders.approve("A")
    assert await orders.ends("A") == "shipped"
    assert await orders.story("A") == [*IN_REVIEW, "approved", *DELIVERED]
    received, _, _, approved, *_ = await orders.events("A")
    assert approved.data.deadline - received.data.deadline > LONG_AGO - timedelta(minutes=1)


async def test_a_review_whose_time_ran_out_while_nobody_worked_is_over_as_any_other(
    orders: Orders,
) -> None:
    start = await orders.was_asked("A", LONG_AGO, amount=DEAR)
    await orders.send(start)
    assert await orders.ends("A") == "rejected"
    assert await orders.story("A") == [*IN_REVIEW, "rejected"]
    assert (await orders.last("A")).data.reason == "review timed out"


@pytest.mark.parametrize(
    ("sent", "end"), [("approve", "shipped"), ("reject", "rejected"), ("cancel", "cancelled")]
)
async def test_a_command_in_time_counts_though_no_worker_heard_it_before_the_time_was_up(
    orders: Orders, db_url: str, sent: str, end: str
) -> None:
    orders.task_queue += "-stops"
    shipping = f"{orders.policy.shipping_task_queue}-stops"
    orders.policy = orders.policy.model_copy(update={"shipping_task_queue": shipping})
    for seconds in (2, 8, 32, 128):  # until a command was sent in time
        name = f"A{seconds}"
        orders.policy = orders.policy.model_copy(update={"review_timeout_seconds": seconds})
        async with serving(orders, db_url):
            await orders.start(name, amount=DEAR)
            await orders.reaches(name, "review_requested")
            await orders.has_heard(name)
        await getattr(orders, sent)(name)
        await orders.has(orders.handle(name).id, "timer_fired")
        if await orders.spoke_in_time(name):
            break
    async with serving(orders, db_url):
        assert await orders.ends(name) == end
    assert await orders.rejections(name) == []
    last = await orders.last(name)
    assert end == "shipped" or last.command_id


async def test_an_order_charged_in_a_lost_task_is_refunded_and_fails_when_nobody_decides(
    orders: Orders,
) -> None:
    start = await orders.was_asked("A", LONG_AGO, amount=DEAR)
    order_id = orders.id("A")
    later = datetime.now(UTC) + timedelta(days=30)  # the clock of this server may be far ahead
    approved = Approved(reviewed_by="Bo", reason=None, deadline=later)
    await record(orders.db, Change(order_id, "approved", approved, "lost"))
    payment, bill = f"{order_id}:charge", {"amount": DEAR, "currency": "USD"}
    await intend_charge(orders.db, payment, order_id, DEAR, "USD")
    await orders.enter(payment, "charge", order_id, bill)
    charged = PaymentCharged(payment_id=payment, amount=DEAR, currency="USD")
    change = Change(order_id, "charged", charged, payment=PaymentStatus.CHARGED)
    await record(orders.db, change)
    await orders.send(start)
    assert await orders.ends("A") == "failed"
    assert (await orders.story("A"))[-2:] == ["payment_refunded", "failed"]
    assert (await orders.last("A")).data.reason == "review timed out"


async def test_a_rejected_review_ends_the_order(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)
    await orders.reaches("A", "review_requested")
    await orders.reject("A")
    assert await orders.ends("A") == "rejected"
    last = await orders.last("A")
    assert (last.type, last.data.reviewed_by, last.data.reason) == (
        "order.rejected",
        "boss",
        "odd",
    )
    assert last.command_id
    assert await orders.payment("A") is None


async def test_nobody_deciding_ends_the_order_after_an_hour(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)
    assert await orders.ends("A") == "rejected"
    assert (await orders.last("A")).data.reason == "review timed out"
    described = await orders.handle("A").describe()
    assert described.close_time is not None
    assert (described.close_time - described.start_time).total_seconds() >= 3600


async def test_without_a_review_timeout_the_review_counts_against_the_limit(
    orders: Orders,
) -> None:
    orders.policy = orders.policy.model_copy(update={"review_timeout_seconds": 0})
    await orders.start("A", amount=DEAR)
    assert await orders.ends("A") == "rejected"
    assert await orders.decided_in_time("A")


async def test_a_cancel_in_review_ends_the_order_without_a_charge(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)
    await orders.reaches("A", "review_requested")
    await orders.cancel("A", command_id="stop")
    assert await orders.ends("A") == "cancelled"
    assert await orders.story("A") == [*IN_REVIEW, "cancelled"]
    assert (await orders.last("A")).command_id == "stop"
    assert await orders.books("A") == []


async def test_the_label_carries_the_last_address(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)
    await orders.reaches("A", "review_requested")
    await orders.move("A")
    await orders.approve("A")
    assert await orders.ends("A") == "shipped"
    label = next(e for e in await orders.events("A") if e.type == "order.shipment_prepared")
    assert label.data.address == ELSEWHERE


async def test_a_second_start_is_rejected_and_a_repeated_one_is_not_heard(orders: Orders) -> None:
    await orders.start("A", amount=DEAR, command_id="one")
    await orders.reaches("A", "review_requested")
    await orders.start("A", amount=DEAR, command_id="one")
    await orders.start("A", amount=DEAR, command_id="two")
    await orders.reaches("A", "command_rejected")
    await orders.approve("A")
    assert await orders.ends("A") == "shipped"
    assert await orders.rejections("A") == ["the order has been started already"]


async def test_a_decision_nobody_asked_for_is_rejected(orders: Orders) -> None:
    orders.script.next["payments.charge"] = [gate := Gate()]
    await orders.start("A")
    await gate.reached.wait()
    await orders.approve("A")
    gate.opened.set()
    assert await orders.ends("A") == "shipped"
    (reason,) = await orders.rejections("A")
    assert "no decision is asked for" in reason or "too late" in reason


async def test_two_decisions_one_counts(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)
    await orders.reaches("A", "review_requested")
    await asyncio.gather(orders.approve("A"), orders.reject("A"))
    end = await orders.ends("A")
    assert end in ("shipped", "rejected")
    assert len(await orders.rejections("A")) == 1


async def test_a_cancel_that_overtakes_its_start_waits_for_it(orders: Orders) -> None:
    await orders.cancel("A", command_id="stop")
    await orders.start("A")
    assert await orders.ends("A") == "cancelled"
    assert (await orders.last("A")).command_id == "stop"
    assert "payment_charged" not in await orders.story("A")


async def test_commands_whose_start_never_comes_are_rejected_and_the_id_stays_free(
    orders: Orders,
) -> None:
    await orders.cancel("A")
    await orders.move("A")
    with pytest.raises(Exception, match="Workflow execution failed"):
        await orders.ends("A")
    first, second = await orders.rejections("A")
    assert first == second == "unknown order: no start has come within 60 s"
    assert await orders.start("A") is Delivery.DELIVERED
    assert await orders.ends("A") == "shipped"
    assert (await orders.story("A"))[2:] == BEGUN + DELIVERED


async def test_a_finished_order_takes_no_command(orders: Orders) -> None:
    await orders.start("A")
    await orders.ends("A")
    assert await orders.cancel("A") is Delivery.ENDED


async def test_an_order_temporal_has_forgotten_is_not_driven_again(orders: Orders) -> None:
    received = Received(address=HOME, deadline=datetime(2020, 1, 1, tzinfo=UTC))
    await record(orders.db, Change(orders.id("A"), "received", received, "one"))
    await record(orders.db, Change(orders.id("A"), "ended", Failed(reason="long ago")))
    await orders.start("A", command_id="two")
    await orders.ends("A")
    assert await orders.story("A") == ["received", "failed", "command_rejected"]
    (reason,) = await orders.rejections("A")
    assert reason.endswith("has been started by command one; it is failed")


async def test_the_running_step_can_be_seen(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)
    await orders.reaches("A", "review_requested")

    async def status() -> Status:
        answer: Status = await orders.handle("A").query("status", result_type=Status)
        return answer

    async def in_review() -> bool:
        return (await status()).state == "in_review"

    await until(in_review)
    assert (await status()).step == "review"
    metadata = await orders.handle("A").query("__temporal_workflow_metadata")
    assert "a person is asked until" in str(metadata)
    await orders.approve("A")
    await orders.ends("A")
    assert (await status()).state == "shipped"
