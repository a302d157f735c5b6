"""What must never be: the database refuses it, whoever asks and by whatever statement."""

import asyncpg
import pytest

from persistence.payments import intend_charge
from persistence.write import record
from tests.integration.persistence.stories import AMOUNT, story

NEVER = {
    "an event is changed": "update events set data = '{}'",
    "an event is removed": "delete from events",
    "the events are truncated": "truncate events",
    "the trail is truncated with all that hangs on it": "truncate orders cascade",
    "an event has a number twice": """
        insert into events (order_id, sequence, type, data, at, key)
        values ('A-1', 1, 'order.shipped', '{}', now(), 'new')""",
    "a write happens twice": """
        insert into events (order_id, sequence, type, data, at, key)
        values ('A-1', 13, 'order.received', '{}', now(), 'received')""",
    "a command causes two events": """
        insert into events (order_id, sequence, type, command_id, data, at, key)
        values ('A-1', 13, 'order.cancelled', 'start-1', '{}', now(), 'new')""",
    "an event is number zero": """
        insert into events (order_id, sequence, type, data, at, key)
        values ('B-1', 0, 'order.received', '{}', now(), 'received')""",
    "an event has no known type": """
        insert into events (order_id, sequence, type, data, at, key)
        values ('B-1', 1, 'order.lost', '{}', now(), 'lost')""",
    "an event's data is no object": """
        insert into events (order_id, sequence, type, data, at, key)
        values ('B-1', 1, 'order.received', '[]', now(), 'received')""",
    "an event has none before it": """
        insert into events (order_id, sequence, type, data, at, key)
        values ('A-1', 99, 'order.command_rejected', '{}', now(), 'new')""",
    "an order is renamed": "update orders set order_id = 'Z' where order_id = 'A-2'",
    "a label carries an address that is not the order's": """
        insert into events (order_id, sequence, type, data, at, key)
        select 'A-1', max(sequence) + 1, 'order.shipment_prepared', '{"address": {}}', now(), 'new'
        from events where order_id = 'A-1'""",
    "an order is removed": "delete from orders",
    "an order goes where it may not": "update orders set state = 'validated'",
    "an order is in no known state": "update orders set state = 'lost'",
    "an order begins in the middle": """
        insert into orders (order_id, state, address, deadline, sequence, received_at, updated_at)
        values ('B-1', 'shipped', '{}', now(), 1, now(), now())""",
    "an order's amount is negative": "update orders set amount = -1",
    "an order has an amount of nothing": "update orders set currency = null",
    "an order waits for nobody": "update orders set decide_by = now()",
    "a payment is removed": "delete from payments",
    "a payment goes where it may not": "update payments set status = 'refunded'",
    "a payment is charged anew": "update payments set status = 'charging'",
    "a payment is in no known status": "update payments set status = 'lost'",
    "a payment's amount changes": "update payments set amount = 1",
    "a payment changes hands": "update payments set order_id = 'B-1'",
    "an order has two payments": """
        insert into payments (payment_id, order_id, status, amount, currency)
        values ('other', 'A-1', 'charging', 1, 'USD')""",
    "a payment begins charged": """
        insert into payments (payment_id, order_id, status, amount, currency)
        values ('other', 'A-2', 'charged', 1, 'USD')""",
    "a payment has no order": """
        insert into payments (payment_id, order_id, status, amount, currency)
        values ('other', 'nobody', 'charging', 1, 'USD')""",
    "a payment is negative": """
        insert into payments (payment_id, order_id, status, amount, currency)
        values ('other', 'A-2', 'charging', -1, 'USD')""",
    "a payment is in no currency": """
        insert into payments (payment_id, order_id, status, amount, currency)
        values ('other', 'A-2', 'charging', 1, 'dollars')""",
}


@pytest.mark.parametrize("statement", NEVER.values(), ids=NEVER.keys())
async def test_never(db: asyncpg.Pool, statement: str) -> None:
    for change in story("A-1"):
        if change.key == "charged":
            await intend_charge(db, "A-1:charge", "A-1", AMOUNT, "USD")
        await record(db, change)
    await record(db, story("A-2")[0])
    before = await everything(db)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await db.execute(statement)
    assert refused.value.sqlstate is not None
    assert refused.value.sqlstate[:2] in ("23", "OL"), refused.value  # a refusal, no typing error
    assert await everything(db) == before


async def everything(db: asyncpg.Pool) -> list[list[asyncpg.Record]]:
    return [
        await db.fetch(f"select * from {table} order by 1, 2")  # noqa: S608
        for table in ("orders", "events", "payments", "outbox")
    ]
