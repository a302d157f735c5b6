"""Orders for these tests: the writes of a whole story, and the fold that judges the rows."""

import dataclasses
import itertools
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from domain import events as e
from domain.events import TYPE_OF, Event, EventData, state_after
from domain.model import Address, Item
from domain.payments import PaymentStatus
from persistence.errors import database_errors
from persistence.pool import Executor
from persistence.queries import get_order, history
from persistence.write import Change

ADDRESS: Final = Address(street="123 Main St", city="Anytown", state="CA", zip="12345")
ELSEWHERE: Final = Address(street="9 Åker Lane", city="Elsewhere", state="OR", zip="97001")
ITEMS: Final = (
    Item(sku="cup", quantity=2, unit_price=450),
    Item(sku="pot", quantity=1, unit_price=2100),
)
AMOUNT: Final = 3000


def received(order_id: str, command_id: str = "start-1") -> Change:
    deadline = datetime.now(UTC) + timedelta(seconds=15)
    return Change(order_id, "received", e.Received(address=ADDRESS, deadline=deadline), command_id)


async def write_within(conn: Executor, change: Change) -> None:
    """Write within the caller's transaction, or in a database of an older version."""
    data = change.data.model_dump_json(exclude_none=True)
    with database_errors():
        await conn.execute(
            "select record_change($1, $2, $3, $4, $5, null, $6)",
            change.order_id,
            change.key,
            TYPE_OF[type(change.data)],
            data,
            change.command_id,
            change.payment,
        )


def story(order_id: str) -> list[Change]:
    """Return the writes of an order that a person approves, readdresses and that is shipped.

    The payment's intent has to be written before the fifth.
    """
    money: dict[str, Any] = {"amount": AMOUNT, "currency": "USD"}
    soon = datetime.now(UTC) + timedelta(hours=1)
    steps: list[tuple[str, EventData, str | None]] = [
        ("validated", e.Validated(items=ITEMS, **money), None),
        ("review", e.ReviewRequested(reason="above 20.00", decide_by=soon, **money), None),
        ("approved", e.Approved(reviewed_by="Ann", deadline=soon), "approve-1"),
        ("charged", e.PaymentCharged(payment_id=f"{order_id}:charge", **money), None),
        ("command:late", e.CommandRejected(command_type="approve", reason="approved"), "late"),
        ("address-1", e.AddressUpdated(address=ELSEWHERE, updated_by="Bo"), "address-1"),
        ("prepared-1", e.ShipmentPrepared(shipment_id=f"{order_id}:1", address=ELSEWHERE), None),
        ("failed-1", e.DispatchFailed(shipment_id=f"{order_id}:1", reason="no van"), None),
        ("prepared-2", e.ShipmentPrepared(shipment_id=f"{order_id}:2", address=ELSEWHERE), None),
        ("dispatched", e.Dispatched(shipment_id=f"{order_id}:2", tracking_number="T-1"), None),
        ("shipped", e.Shipped(tracking_number="T-1"), None),
    ]
    return [
        received(order_id),
        *(
            Change(
                order_id,
                key,
                data,
                command_id,
                payment=PaymentStatus.CHARGED if key == "charged" else None,
            )
            for key, data, command_id in steps
        ),
    ]


def fold(events: Iterable[Event]) -> dict[str, Any]:
    """Return the columns of orders that these events come to, written apart from the SQL."""
    row: dict[str, Any] = dict.fromkeys(
        ("items", "amount", "currency", "payment_id", "shipment_id", "tracking_number")
    )
    row["state"] = None
    for event in events:
        data = json.loads(event.data.model_dump_json())
        moved = state_after(None, event.type) is not None
        row["state"] = state_after(row["state"], event.type)
        row["sequence"], row["updated_at"] = event.sequence, event.at
        if moved:
            row["reason"] = data.get("reason")
            row["decide_by"] = getattr(event.data, "decide_by", None)
        if event.type in ("order.received", "order.address_updated"):
            row["address"] = data["address"]
        if event.type == "order.received":
            row["received_at"] = event.at
        if isinstance(event.data, e.Validated):
            row.update({name: data[name] for name in ("items", "amount", "currency")})
        if isinstance(event.data, e.Received | e.Approved):
            row["deadline"] = event.data.deadline
        for name in ("payment_id", "shipment_id", "tracking_number"):
            row[name] = data.get(name, row[name])
    return row


async def assert_row_is_fold(db: Executor, order_id: str) -> None:
    """Compare an order's row with the fold of its events, which are numbered without gap."""
    events = await history(db, order_id)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert all(a.at <= b.at for a, b in itertools.pairwise(events))
    order = await get_order(db, order_id)
    expected = fold(events)
    if expected["state"] is None:
        assert order is None
        return
    assert order is not None
    row = dataclasses.asdict(order)
    assert {name: row[name] for name in expected} == expected
