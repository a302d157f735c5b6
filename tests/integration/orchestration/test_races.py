import asyncio
import random

from orchestration.contract import workflow_id
from tests.unit.orchestration.orders import Orders
from tests.unit.orchestration.partners import Gate

TIMES = 40


async def test_cancels_and_addresses_at_shifted_moments_never_leave_two_truths(
    orders: Orders,
) -> None:
    chance = random.Random(4)

    async def race(name: str) -> None:
        await orders.start(name)
        await asyncio.sleep(chance.random() * 0.5)
        await orders.move(name, command_id=f"move-{name}")
        await asyncio.sleep(chance.random() * 0.1)
        await orders.cancel(name, command_id=f"stop-{name}")
        await _check_one_truth(orders, name)

    await asyncio.gather(*(race(f"R{n}") for n in range(TIMES)))


async def test_a_signal_in_the_task_that_dispatches_undoes_no_dispatch(orders: Orders) -> None:
    orders.script.always["carrier.dispatch"] = gate = Gate()
    await orders.start("A")
    await gate.reached.wait()
    await orders.cancel("A", command_id="stop-A")
    await orders.has(workflow_id(orders.id("A")), "external_workflow_execution_signaled")
    gate.opened.set()
    assert await orders.ends("A") == "shipped"
    await _check_one_truth(orders, "A")


async def _check_one_truth(orders: Orders, name: str) -> None:
    end = await orders.ends(name)
    books, payment = await orders.books(name), await orders.payment(name)
    stopped = [e.type for e in await orders.events(name) if e.command_id == f"stop-{name}"]
    if end == "shipped":
        assert payment == "charged"
        assert (books.count("charge"), books.count("refund"), books.count("dispatch")) == (1, 0, 1)
        assert stopped in ([], ["order.command_rejected"])  # none: it had ended, ingest answers
    else:
        assert end == "cancelled"
        assert payment in (None, "refunded", "void")
        assert books.count("charge") == books.count("refund")
        assert "dispatch" not in books
        assert stopped == ["order.cancelled"]
    label = [e for e in await orders.events(name) if e.type == "order.shipment_prepared"]
    moved = [e for e in await orders.events(name) if e.type == "order.address_updated"]
    if end == "shipped" and moved:
        assert label[-1].data.address == moved[-1].data.address
