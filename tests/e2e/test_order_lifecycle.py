import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from domain.events import CommandRejected, ShipmentPrepared, Validated
from orchestration.temporal_client import connect
from tests.support.kcat import needs_kcat, read
from tests.support.service import Service
from tests.support.waiting import until

pytestmark = needs_kcat

ADDRESS = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
ELSEWHERE = {"street": "9 Side St", "city": "Anytown", "state": "CA", "zip": "12345"}
BEGUN = ["order.received", "order.validated"]
DELIVERED = [
    "order.payment_charged",
    "order.shipment_prepared",
    "order.dispatched",
    "order.shipped",
]


@pytest.fixture
def order() -> str:
    """An order id that no other test uses: all tests share one Temporal."""
    return f"A-{uuid.uuid4().hex[:8]}"


def start(order_id: str, unit_price: int | None = None) -> str:
    command: dict[str, Any] = {"type": "start", "order_id": order_id, "initial_address": ADDRESS}
    if unit_price is not None:
        items = [{"sku": "S", "quantity": 1, "unit_price": unit_price}]
        command |= {"items": items, "currency": "USD"}
    return json.dumps(command)


def cancel(order_id: str) -> str:
    return json.dumps(
        {"type": "cancel", "order_id": order_id, "reason": "changed my mind", "cancelled_by": "me"}
    )


def move(order_id: str) -> str:
    return json.dumps(
        {
            "type": "update-address",
            "order_id": order_id,
            "new_address": ELSEWHERE,
            "updated_by": "me",
        }
    )


def decide(verdict: str, order_id: str) -> str:
    return json.dumps({"type": verdict, "order_id": order_id, "reviewed_by": "me"})


async def workflows(service: Service, order: str) -> set[tuple[str, str, str, str | None]]:
    """Return id, type, task queue and parent of the order's workflows, as Temporal has them."""
    environment = service.environment
    client = await connect(
        environment["TEMPORAL_HOST"], int(environment["TEMPORAL_PORT"]), "default"
    )
    ids = (f"order-{order}", f"shipping-{order}-1")
    found = [await client.get_workflow_handle(each).describe() for each in ids]
    return {(w.id, w.workflow_type, w.task_queue, w.parent_id) for w in found}


async def test_a_start_typed_into_kcat_ships_and_row_trail_and_topic_agree(
    service: Service, order: str
) -> None:
    await service.send(start(order))

    assert await service.story(order, "order.shipped") == BEGUN + DELIVERED

    events = await service.events(order)
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    assert events[0].command_id is not None
    trail = await service.db.fetch(
        "SELECT type, sequence FROM events WHERE order_id = $1 ORDER BY sequence", order
    )
    assert [(row["type"], row["sequence"]) for row in trail] == [
        (event.type, event.sequence) for event in events
    ]
    assert (
        await service.db.fetchval("SELECT state FROM orders WHERE order_id = $1", order)
        == "shipped"
    )
    assert await workflows(service, order) == {
        (f"order-{order}", "OrderWorkflow", service.environment["ORDER_TASK_QUEUE"], None),
        (
            f"shipping-{order}-1",
            "ShippingWorkflow",
            service.environment["SHIPPING_TASK_QUEUE"],
            f"order-{order}",
        ),
    }
    payment = await service.db.fetchrow("SELECT * FROM payments WHERE order_id = $1", order)
    assert payment is not None
    assert payment["status"] == "charged"
    assert isinstance(events[1].data, Validated)
    assert payment["amount"] == events[1].data.amount


async def test_the_address_of_a_waiting_order_may_change_and_the_label_carries_it(
    service: Service, order: str
) -> None:
    await service.send(start(order, 90_000))
    await service.story(order, "order.review_requested")
    await service.send(move(order))
    await service.story(order, "order.address_updated")
    await service.send(decide("approve", order))

    await service.story(order, "order.shipped")

    label = next(e for e in await service.events(order) if e.type == "order.shipment_prepared")
    assert isinstance(label.data, ShipmentPrepared)
    assert label.data.address.model_dump() == ELSEWHERE


@pytest.mark.parametrize(
    ("command", "end"),
    [
        (cancel, "order.cancelled"),
        (lambda order_id: decide("reject", order_id), "order.rejected"),
    ],
    ids=["cancel", "reject"],
)
async def test_a_waiting_order_can_be_ended_without_a_charge(
    service: Service, order: str, command: Callable[[str], str], end: str
) -> None:
    await service.send(start(order, 90_000))
    await service.story(order, "order.review_requested")
    await service.send(command(order))

    assert await service.story(order, end) == [*BEGUN, "order.review_requested", end]

    assert await service.db.fetchval("SELECT * FROM payments WHERE order_id = $1", order) is None
    ended = (await service.events(order))[-1]
    assert ended.command_id is not None


async def test_fifty_starts_in_one_go_all_ship(service: Service, order: str) -> None:
    await service.send(*[start(f"{order}-{n}") for n in range(50)])

    async def shipped() -> bool:
        count = await service.db.fetchval(
            "SELECT count(*) FROM orders WHERE state = 'shipped' AND order_id LIKE $1", f"{order}-%"
        )
        return bool(count == 50)

    await until(shipped, patience=120)


async def test_a_broken_message_becomes_a_dead_letter_and_its_neighbours_ship(
    service: Service, order: str
) -> None:
    await service.send(start(order), '{"type": "start", "order_id"', start(f"{order}-2"))

    await asyncio.gather(
        service.story(order, "order.shipped"), service.story(f"{order}-2", "order.shipped")
    )
    dead = await read(service.bootstrap, service.topics.dead_letters)
    assert dead == ['{"type": "start", "order_id"']


async def test_a_cancel_that_overtakes_its_start_takes_effect_when_the_start_comes(
    service: Service, order: str
) -> None:
    await service.send(cancel(order))
    await service.send(start(order))

    story = await service.story(order, "order.cancelled")

    assert "order.shipment_prepared" not in story


async def test_a_command_for_an_order_that_ended_is_rejected_by_name_of_its_state(
    service: Service, order: str
) -> None:
    await service.send(start(order))
    await service.story(order, "order.shipped")
    await service.send(cancel(order))

    await service.story(order, "order.command_rejected")

    refused = (await service.events(order))[-1]
    assert isinstance(refused.data, CommandRejected)
    assert "shipped" in refused.data.reason
