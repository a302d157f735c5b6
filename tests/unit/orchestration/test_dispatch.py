import asyncio

import pytest

from orchestration.contract import workflow_id
from tests.unit.orchestration.orders import ELSEWHERE, NOWHERE, Orders
from tests.unit.orchestration.partners import Gate, declines, hangs_after_effect, raises

FIRST = ["received", "validated", "payment_charged"]


async def test_a_carrier_that_refuses_once_gets_a_second_parcel(orders: Orders) -> None:
    orders.script.next["carrier.dispatch"] = [declines]
    await orders.start("A")
    assert await orders.ends("A") == "shipped"
    assert await orders.story("A") == [
        *FIRST,
        "shipment_prepared",
        "dispatch_failed",
        "shipment_prepared",
        "dispatched",
        "shipped",
    ]
    assert await orders.decided_in_time("A")


async def test_a_carrier_that_always_refuses_ends_in_a_refund_in_time(orders: Orders) -> None:
    await orders.start("A", address=NOWHERE)
    assert await orders.ends("A") == "failed"
    story = await orders.story("A")
    assert story.count("dispatch_failed") >= 2
    assert story[-2:] == ["payment_refunded", "failed"]
    assert (await orders.last("A")).data.reason.startswith("dispatch failed: ")
    failures = [e for e in await orders.events("A") if e.type == "order.dispatch_failed"]
    assert "does not deliver to zip 00000" in failures[0].data.reason
    assert await orders.decided_in_time("A")


async def test_a_new_address_after_a_refused_dispatch_goes_on_the_next_label(
    orders: Orders,
) -> None:
    await orders.start("A", address=NOWHERE)
    await orders.reaches("A", "dispatch_failed")
    await orders.move("A")
    assert await orders.ends("A") == "shipped"
    labels = [e for e in await orders.events("A") if e.type == "order.shipment_prepared"]
    assert labels[-1].data.address == ELSEWHERE


async def test_a_cancel_between_two_shipments_refunds(orders: Orders) -> None:
    await orders.start("A", address=NOWHERE)
    await orders.reaches("A", "dispatch_failed")
    await orders.cancel("A")
    assert await orders.ends("A") == "cancelled"
    assert (await orders.story("A"))[-2:] == ["payment_refunded", "cancelled"]


async def test_an_address_that_comes_while_packing_gets_a_new_label(orders: Orders) -> None:
    orders.script.always["warehouse.prepare"] = raises
    await orders.start("A")
    await orders.reaches("A", "payment_charged")
    await orders.move("A")
    await orders.reaches("A", "address_updated")
    orders.script.always.pop("warehouse.prepare")
    assert await orders.ends("A") == "shipped"
    labels = [e for e in await orders.events("A") if e.type == "order.shipment_prepared"]
    assert labels[-1].data.address == ELSEWHERE
    assert await orders.rejections("A") == []


async def test_a_cancel_while_packing_refunds(orders: Orders) -> None:
    orders.script.always["warehouse.prepare"] = raises
    await orders.start("A")
    await orders.reaches("A", "payment_charged")
    await orders.cancel("A")
    assert await orders.ends("A") == "cancelled"
    assert await orders.payment("A") == "refunded"
    assert "dispatch" not in await orders.books("A")


async def test_once_the_carrier_is_asked_cancel_and_address_are_too_late(orders: Orders) -> None:
    orders.script.always["carrier.dispatch"] = hangs_after_effect
    await orders.start("A")
    await orders.goes_on(orders.shipment("A"))
    await orders.move("A")
    await orders.cancel("A")
    await orders.has(orders.shipment("A"), "workflow_execution_signaled")
    orders.script.always.pop("carrier.dispatch")
    assert await orders.ends("A") == "shipped"
    assert len(await orders.rejections("A")) == 2
    assert all("too late" in reason for reason in await orders.rejections("A"))
    assert await orders.payment("A") == "charged"


@pytest.mark.parametrize("command", ["cancel", "move"])
async def test_a_command_that_makes_the_server_repeat_the_task_undoes_no_dispatch(
    orders: Orders, command: str
) -> None:
    orders.script.always["carrier.dispatch"] = gate = Gate()
    await orders.start("A")
    await gate.reached.wait()
    await (orders.cancel("A") if command == "cancel" else orders.move("A"))
    await orders.has(workflow_id(orders.id("A")), "external_workflow_execution_signaled")
    gate.opened.set()
    assert await orders.ends("A") == "shipped"
    assert len(await orders.rejections("A")) == 1
    assert await orders.payment("A") == "charged"
    assert (await orders.books("A")).count("dispatch") == 1


async def test_no_worker_for_shipments_ends_in_a_refund_in_time(orders: Orders) -> None:
    orders.hurry()
    orders.policy = orders.policy.model_copy(update={"shipping_task_queue": "nobody-serves-this"})
    await orders.start("A")
    assert await orders.ends("A") == "failed"
    assert await orders.payment("A") == "refunded"
    assert await orders.decided_in_time("A")
    assert "withdraw" in await orders.books("A")


async def test_commands_of_all_kinds_at_once_each_have_one_outcome(orders: Orders) -> None:
    orders.script.always["payments.charge"] = raises
    await orders.start("A", command_id="start")
    await orders.reaches("A", "validated")
    await asyncio.gather(
        orders.move("A", command_id="move"),
        orders.cancel("A", command_id="cancel-1"),
        orders.cancel("A", command_id="cancel-2"),
        orders.start("A", command_id="start-2"),
    )
    end = await orders.ends("A")
    outcomes = [e.command_id for e in await orders.events("A") if e.command_id]
    assert sorted(outcomes) == ["cancel-1", "cancel-2", "move", "start", "start-2"]
    assert end == "cancelled"
