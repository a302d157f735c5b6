"""An order whose workflow is gone is settled by its own story, started again."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import ScheduleActionStartWorkflow
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment

from domain.errors import Rejected, Unavailable
from domain.events import (
    Dispatched,
    EventData,
    Failed,
    PaymentCharged,
    Received,
    ShipmentPrepared,
    Validated,
)
from domain.model import Item
from domain.payments import PaymentStatus
from orchestration import gateways, timing, worker
from orchestration.activities.order import Bill, OrderActivities
from orchestration.contract import (
    ORDER_WORKFLOW,
    RECONCILE_WORKFLOW,
    OrderPolicy,
    workflow_id,
)
from orchestration.temporal_client import schedule_reconciler
from orchestration.timing import STRANDED_AFTER
from persistence.payments import intend_charge
from persistence.queries import PAGE
from persistence.write import Change, record
from tests.support.waiting import until
from tests.unit.orchestration.orders import HOME, Orders

ITEM = Item(sku="S", quantity=1, unit_price=500)
LONG_AGO = datetime.now(UTC) - STRANDED_AFTER * 4


async def _look(orders: Orders, within: timedelta) -> int:
    """Have the reconciler look once; return how many orders it took up."""
    taken: int = await orders.client.execute_workflow(
        RECONCILE_WORKFLOW,
        orders.policy,
        id=f"reconcile-{orders.tag}",
        task_queue=orders.task_queue,
        execution_timeout=within,
    )
    return taken


async def _strand(orders: Orders, name: str, last: str, at_bank: bool) -> None:
    """Write what an order's workflow had written before it was lost."""
    order, bill = orders.id(name), f"{orders.id(name)}:charge"
    shipment = f"{order}-1"
    told: dict[str, EventData] = {
        "received": Received(address=HOME, deadline=LONG_AGO),
        "validated": Validated(items=(ITEM,), amount=500, currency="USD"),
        "charged": PaymentCharged(payment_id=bill, amount=500, currency="USD"),
        f"prepare:{shipment}": ShipmentPrepared(shipment_id=shipment, address=HOME),
        f"dispatched:{shipment}": Dispatched(shipment_id=shipment, tracking_number="T"),
    }
    steps = list(told)[
        : {"validated": 2, "charged": 3, "prepared": 4, "dispatched": 5, "ended": 2}[last]
    ]
    for key in steps:
        payment = PaymentStatus.CHARGED if key == "charged" else None
        if key == "charged":
            await intend_charge(orders.db, bill, order, 500, "USD")
        command = "one" if key == "received" else None
        await record(orders.db, Change(order, key, told[key], command, payment=payment))
    if last in ("validated", "ended"):
        await intend_charge(orders.db, bill, order, 500, "USD")
    if last == "ended":
        await record(orders.db, Change(order, "ended", Failed(reason="the bank is away")))
        await _long_ago(orders, name)
    if at_bank:
        await _charge_at_bank(orders, name)


async def _charge_at_bank(orders: Orders, name: str) -> None:
    order, money = orders.id(name), {"amount": 500, "currency": "USD"}
    await orders.enter(f"{order}:charge", "charge", order, money)


async def _long_ago(orders: Orders, name: str) -> None:
    query = "update payments set updated_at = $2 where order_id = $1"
    await orders.db.execute(query, orders.id(name), LONG_AGO)


@pytest.mark.parametrize(
    ("last", "at_bank", "end", "payment"),
    [
        ("ended", False, "failed", "void"),
        ("ended", True, "failed", "refunded"),
        ("validated", False, "failed", "void"),
        ("validated", True, "failed", "refunded"),
        ("charged", True, "failed", "refunded"),
        ("prepared", True, "failed", "refunded"),
        ("dispatched", True, "shipped", "charged"),
    ],
)
async def test_a_stranded_order_is_settled(
    orders: Orders, last: str, at_bank: bool, end: str, payment: str
) -> None:
    await _strand(orders, "A", last, at_bank)
    orders.known.add(orders.id("A"))
    assert await _look(orders, timedelta(minutes=1)) == 1
    assert await orders.ends("A") == end
    assert await orders.payment("A") == payment


async def test_a_charge_that_finds_its_order_ended_leaves_nothing_charged(
    orders: Orders, db_url: str
) -> None:
    """Its worker was frozen; an earlier attempt, of another worker, had reached the bank."""
    await _strand(orders, "A", "ended", at_bank=True)
    order = orders.id("A")
    bill = Bill(order_id=order, payment_id=f"{order}:charge", amount=500, currency="USD")
    async with gateways.simulated(db_url, gateways.Faults.NONE, seed=0) as partners:
        charge = OrderActivities(orders.db, partners).charge
        with pytest.raises(Rejected, match="the order is failed"):
            await ActivityEnvironment().run(charge, bill)
    assert await orders.books("A") == ["charge", "refund"]
    assert await orders.payment("A") == "refunded"


async def test_an_order_that_is_driven_is_left_alone(orders: Orders) -> None:
    orders.policy = orders.policy.model_copy(update={"review": "manual"})
    await orders.start("A")
    await orders.reaches("A", "review_requested")
    await orders.db.execute("update orders set decide_by = $1", LONG_AGO)
    assert await _look(orders, timedelta(minutes=1)) == 0
    await orders.approve("A")
    assert await orders.ends("A") == "shipped"


async def test_orders_that_are_driven_but_stuck_do_not_hide_a_stranded_one(orders: Orders) -> None:
    await asyncio.gather(*(_stuck(orders, f"S{number}") for number in range(PAGE)))
    received = Received(address=HOME, deadline=LONG_AGO + timedelta(seconds=1))
    await record(orders.db, Change(orders.id("A"), "received", received, "one"))
    assert await _look(orders, timedelta(minutes=5)) == 1
    assert await orders.ends("A") == "failed"
    for number in range(PAGE):
        await orders.handle(f"S{number}").terminate("the test is over")
    orders.known.add(orders.id("A"))


async def _stuck(orders: Orders, name: str) -> None:
    """Have an order whose clock ran out long ago, and a workflow that nobody works on."""
    received = Received(address=HOME, deadline=LONG_AGO)
    await record(orders.db, Change(orders.id(name), "received", received, "one"))
    await orders.client.start_workflow(
        ORDER_WORKFLOW,
        orders.policy,
        id=workflow_id(orders.id(name)),
        task_queue=f"{orders.task_queue}-away",
    )


async def test_the_schedule_of_an_earlier_worker_is_brought_up_to_date(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    await schedule_reconciler(orders.client, orders.policy, orders.task_queue)
    schedule = orders.client.get_schedule_handle(f"reconcile-{orders.task_queue}")
    try:
        await schedule.pause(note="a person's")
        monkeypatch.setattr(timing, "RECONCILE_EVERY", timedelta(minutes=7))
        policy = orders.policy.model_copy(update={"timeout_seconds": 33})
        await schedule_reconciler(orders.client, policy, orders.task_queue)
        standing = (await schedule.describe()).schedule
        assert [one.every for one in standing.spec.intervals] == [timedelta(minutes=7)]
        assert isinstance(standing.action, ScheduleActionStartWorkflow)
        (told,) = await orders.client.data_converter.decode(standing.action.args, [OrderPolicy])
        assert told == policy
        assert (standing.state.paused, standing.state.note) == (True, "a person's")
    finally:
        await schedule.delete()


async def test_the_schedule_finds_an_order_whose_workflow_was_terminated(orders: Orders) -> None:
    orders.policy = orders.policy.model_copy(update={"review": "manual"})
    await orders.start("A")
    await orders.reaches("A", "review_requested")
    await orders.handle("A").terminate("a test")
    await orders.db.execute("update orders set decide_by = $1, deadline = $1", LONG_AGO)
    await schedule_reconciler(orders.client, orders.policy, orders.task_queue)
    await schedule_reconciler(orders.client, orders.policy, orders.task_queue)
    schedule = orders.client.get_schedule_handle(f"reconcile-{orders.task_queue}")
    try:
        await schedule.trigger()

        async def rejected() -> bool:
            return (await orders.story("A"))[-1] == "rejected"

        await until(rejected)
        assert (await orders.last("A")).data.reason == "review timed out"
    finally:
        await schedule.delete()


async def test_orders_do_not_wait_for_the_schedule(
    unserved: Orders, db_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule whose server is slow kept worker after worker from starting at all."""
    taken, stop = asyncio.Event(), asyncio.Event()

    async def in_trouble(*given: Any) -> None:
        if not taken.is_set():
            raise Unavailable("told to")
        await schedule_reconciler(*given)

    monkeypatch.setattr(worker, "schedule_reconciler", in_trouble)
    monkeypatch.setattr(worker, "SCHEDULE_AGAIN_SECONDS", 0.05)
    schedule = unserved.client.get_schedule_handle(f"reconcile-{unserved.task_queue}")

    async def there() -> bool:
        with suppress(RPCError):
            await schedule.describe()
            return True
        return False

    async with gateways.simulated(db_url, gateways.Faults.NONE, seed=0) as simulated:
        partners = unserved.script.direct(simulated)
        queues = (unserved.task_queue, unserved.policy.shipping_task_queue)
        running = asyncio.create_task(
            worker.run_worker(unserved.client, unserved.db, partners, *queues, stop)
        )
        try:
            await unserved.start("A")
            assert await unserved.ends("A") == "shipped"
            taken.set()
            await until(there)
            await schedule.delete()
        finally:
            stop.set()
            await running
