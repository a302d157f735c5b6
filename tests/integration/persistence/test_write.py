"""The write transaction: numbered, repeatable, and never half done."""

import asyncio
import dataclasses
import random
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from domain import events as e
from domain.errors import AlreadyStarted, MoveNotAllowed, Rejected, Unavailable
from domain.events import EVENT, LEADS_TO
from domain.payments import PAYMENT_MAY_BECOME, PaymentStatus
from domain.states import MAY_BECOME, State
from persistence.payments import get_payment, intend_charge
from persistence.pool import lease
from persistence.queries import get_order, history
from persistence.write import Change, record
from tests.integration.persistence.stories import (
    ADDRESS,
    AMOUNT,
    ELSEWHERE,
    assert_row_is_fold,
    received,
    story,
    write_within,
)

Seen = dict[tuple[str, str], set[int]]
"""Order id and key of a write: the sequence numbers it was told."""


async def write_story(db: asyncpg.Pool, order_id: str) -> None:
    for change in story(order_id):
        if change.key == "charged":
            await intend_charge(db, f"{order_id}:charge", order_id, AMOUNT, "USD")
        await record(db, change)


async def test_a_story_gives_row_events_payment_and_outbox_that_agree(db: asyncpg.Pool) -> None:
    await write_story(db, "A-1")
    await assert_row_is_fold(db, "A-1")
    order = await get_order(db, "A-1")
    assert order is not None
    assert order.state == State.SHIPPED
    assert order.address == ELSEWHERE.model_dump()
    payment = await get_payment(db, "A-1:charge")
    assert payment is not None
    assert payment.status == PaymentStatus.CHARGED
    outbox = await db.fetch("select payload, sequence from outbox order by id")
    assert [EVENT.validate_json(row["payload"]) for row in outbox] == await history(db, "A-1")
    assert all(row["payload"].startswith('{"type":"order.') for row in outbox)


async def test_the_same_write_again_changes_nothing_and_returns_the_first_result(
    db: asyncpg.Pool,
) -> None:
    await write_story(db, "A-1")
    before = await db.fetch("select * from events"), await get_order(db, "A-1")
    for change in story("A-1"):
        again = await record(db, change)
        first = next(row for row in before[0] if row["key"] == change.key)
        assert again.repeated
        assert (again.type, again.sequence, again.at) == (
            first["type"],
            first["sequence"],
            first["at"],
        )
    assert (await db.fetch("select * from events"), await get_order(db, "A-1")) == before
    assert await db.fetchval("select count(*) from outbox") == len(story("A-1"))


async def test_a_command_that_was_refused_is_not_carried_out_under_another_key(
    db: asyncpg.Pool,
) -> None:
    refused = e.CommandRejected(command_type="cancel", reason="too late")
    await record(db, received("A-1"))
    first = await record(db, Change("A-1", "command:c", refused, "c"))
    cancelled = e.Cancelled(reason="changed my mind", cancelled_by="Ann")
    again = await record(db, Change("A-1", "cancelled", cancelled, "c"))
    assert again == dataclasses.replace(first, repeated=True)
    order = await get_order(db, "A-1")
    assert order is not None
    assert order.state == State.RECEIVED


async def test_an_order_id_has_one_life(db: asyncpg.Pool) -> None:
    await record(db, received("A-1", "first"))
    with pytest.raises(AlreadyStarted, match="first"):
        await record(db, received("A-1", "second"))
    assert await db.fetchval("select count(*) from events") == 1


async def test_a_rejection_for_an_unknown_order_is_numbered_and_makes_no_order(
    db: asyncpg.Pool,
) -> None:
    refused = e.CommandRejected(command_type="cancel", reason="unknown order")
    for number in (1, 2):
        result = await record(db, Change("A-1", f"command:{number}", refused, str(number)))
        assert (result.sequence, result.state) == (number, None)
    assert await get_order(db, "A-1") is None
    # An order that comes afterwards goes on counting.
    assert (await record(db, received("A-1"))).sequence == 3


async def test_numbers_go_on_after_the_end(db: asyncpg.Pool) -> None:
    await write_story(db, "A-1")
    refused = e.CommandRejected(command_type="cancel", reason="too late: the order is shipped")
    result = await record(db, Change("A-1", "command:x", refused, "x"))
    assert (result.sequence, result.state) == (len(story("A-1")) + 1, State.SHIPPED)
    await assert_row_is_fold(db, "A-1")


@pytest.mark.parametrize(
    "data",
    [
        e.Shipped(tracking_number="T"),
        e.PaymentRefunded(payment_id="p", amount=1, currency="USD", reason="r"),
        e.Dispatched(shipment_id="s", tracking_number="T"),
    ],
)
async def test_a_move_that_is_not_allowed_writes_nothing(
    db: asyncpg.Pool, data: e.EventData
) -> None:
    await record(db, received("A-1"))
    with pytest.raises(MoveNotAllowed) as refused:
        await record(db, Change("A-1", "x", data))
    assert refused.value.now == State.RECEIVED
    assert refused.value.then == LEADS_TO[e.TYPE_OF[type(data)]]
    assert await db.fetchval("select count(*) from events") == 1
    assert await db.fetchval("select count(*) from outbox") == 1


async def test_an_address_cannot_change_before_the_start_or_after_the_end(db: asyncpg.Pool) -> None:
    update = e.AddressUpdated(address=ELSEWHERE, updated_by="Bo")
    with pytest.raises(MoveNotAllowed, match="unknown"):
        await record(db, Change("A-1", "x", update, "x"))
    await write_story(db, "A-2")
    with pytest.raises(MoveNotAllowed, match="shipped"):
        await record(db, Change("A-2", "x", update, "x"))


async def test_a_payment_that_may_not_move_takes_the_event_back_with_it(db: asyncpg.Pool) -> None:
    for change in story("A-1")[:4]:
        await record(db, change)
    with pytest.raises(Rejected, match="no payment"):
        await record(db, story("A-1")[4])
    await intend_charge(db, "A-1:charge", "A-1", AMOUNT, "USD")
    refunded = dataclasses.replace(story("A-1")[4], payment=PaymentStatus.REFUNDED)
    with pytest.raises(Rejected, match="charging and may not become refunded"):
        await record(db, refunded)
    assert await db.fetchval("select count(*) from events") == 4


async def test_a_write_waits_for_the_same_order_and_for_no_other(db: asyncpg.Pool) -> None:
    async with lease(db) as holder, holder.transaction():
        await holder.execute("select lock_order('A-1')")
        await asyncio.wait_for(record(db, received("A-2")), 30)
        same = asyncio.create_task(record(db, received("A-1")))
        done, _ = await asyncio.wait({same}, timeout=0.3)
        assert not done
    assert not (await same).repeated


async def test_a_lock_that_does_not_come_is_unavailable(db_url: str) -> None:
    first, second = await asyncpg.connect(db_url), await asyncpg.connect(db_url)
    try:
        await second.execute("set lock_timeout = '50ms'")
        async with first.transaction():
            await first.execute("select lock_order('A-1')")
            with pytest.raises(Unavailable, match="lock timeout"):
                await record(second, received("A-1"))
    finally:
        await first.close()
        await second.close()


@pytest.mark.parametrize("order_id", ["", "a b", "ö", "x" * 65, "-a", "a\n"])
async def test_the_database_refuses_an_order_id_that_is_none(
    db: asyncpg.Pool, order_id: str
) -> None:
    with pytest.raises(Rejected):
        await record(db, received(order_id))


async def write_at_random(conn: asyncpg.Connection, seed: int, seen: Seen) -> None:
    """Write steps of stories in any order, with repeats, refusals and aborted transactions."""
    chance = random.Random(seed)
    for _ in range(60):
        change = chance.choice(story(f"A-{chance.randrange(5)}"))
        if chance.random() < 0.3:  # somebody's command that comes too late
            name = f"{seed}-{chance.randrange(20)}"
            refused = e.CommandRejected(command_type="cancel", reason="no")
            change = Change(change.order_id, f"command:{name}", refused, name)
        with refused_by_the_rules():
            if chance.random() < 0.2:
                await write_and_die(conn, change)
                continue
            if change.key == "charged":
                await intend_charge(
                    conn, f"{change.order_id}:charge", change.order_id, AMOUNT, "USD"
                )
            for _ in range(chance.choice((1, 1, 2))):
                result = await record(conn, change)
                seen.setdefault((change.order_id, change.key), set()).add(result.sequence)


@contextmanager
def refused_by_the_rules() -> Iterator[None]:
    """Let pass what the story forbids, not what writers do to each other."""
    try:
        yield
    except Rejected as error:
        if "duplicate key" in str(error):
            pytest.fail(f"two writers came between each other: {error}")


async def write_and_die(conn: asyncpg.Connection, change: Change) -> None:
    """Write, and end the transaction as a crash before its commit would."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        await write_within(conn, change)
    finally:
        await transaction.rollback()


async def test_sixteen_writers_over_few_orders_leave_no_gap_and_no_half_write(
    db_url: str, db: asyncpg.Pool
) -> None:
    seen: Seen = {}

    async def writer(seed: int) -> None:
        conn = await asyncpg.connect(db_url)
        try:
            await write_at_random(conn, seed, seen)
        finally:
            await conn.close()

    await asyncio.gather(*(writer(seed) for seed in range(16)))

    assert all(len(sequences) == 1 for sequences in seen.values())
    for order_id in (f"A-{number}" for number in range(5)):
        await assert_row_is_fold(db, order_id)
        numbers = await db.fetch(
            "select sequence from outbox where aggregateid = $1 order by id", order_id
        )
        assert [row["sequence"] for row in numbers] == list(range(1, len(numbers) + 1))
        assert len(numbers) == len(await history(db, order_id)) > 20
    states = await db.fetch("select distinct state from orders")
    assert State.SHIPPED in {
        row["state"] for row in states
    }  # so the walk came through the whole story


async def test_the_tables_of_moves_are_those_of_the_domain(db: asyncpg.Pool) -> None:
    moves = {tuple(row) for row in await db.fetch("select from_state, to_state from order_moves")}
    assert moves == {(now or "", then) for now, thens in MAY_BECOME.items() for then in thens}
    types = await db.fetch("select type, leads_to from event_types")
    assert {row["type"]: row["leads_to"] for row in types} == LEADS_TO
    payment_moves = await db.fetch("select from_status, to_status from payment_moves")
    assert {tuple(row) for row in payment_moves} == {
        (now or "", then) for now, thens in PAYMENT_MAY_BECOME.items() for then in thens
    }


async def test_text_that_json_has_to_escape_comes_back_as_it_was(db: asyncpg.Pool) -> None:
    address = ADDRESS.model_copy(update={"street": 'say "hi" \\ 中文 \u2028 {"type":1}'})
    deadline = e.Received.model_validate_json(
        f'{{"address": {address.model_dump_json()}, "deadline": "2030-01-01T00:00:00Z"}}'
    )
    await record(db, Change("A-1", "received", deadline, "c", traceparent="00-" + "a" * 32))
    payload = await db.fetchval("select payload from outbox")
    assert EVENT.validate_json(payload).data == deadline
    assert (await history(db, "A-1"))[0].data == deadline


async def test_a_label_for_an_earlier_address_is_refused(db: asyncpg.Pool) -> None:
    changes = {change.key: change for change in story("A-1")}
    moved = list(changes)[: list(changes).index("prepared-1")]
    for key in moved:
        if key == "charged":
            await intend_charge(db, "A-1:charge", "A-1", AMOUNT, "USD")
        await record(db, changes[key])
    late = e.ShipmentPrepared(shipment_id="A-1:0", address=ADDRESS)
    with pytest.raises(Rejected, match="not the order's"):
        await record(db, Change("A-1", "prepared-0", late))
    await assert_row_is_fold(db, "A-1")
    await record(db, changes["prepared-1"])


async def test_a_label_for_an_earlier_shipment_is_refused_though_the_address_is_its_own_again(
    db: asyncpg.Pool,
) -> None:
    changes = {change.key: change for change in story("A-1")}
    for key in list(changes)[: list(changes).index("failed-1")]:
        if key == "charged":
            await intend_charge(db, "A-1:charge", "A-1", AMOUNT, "USD")
        await record(db, changes[key])
    back = e.AddressUpdated(address=ADDRESS, updated_by="Bo")
    await record(db, Change("A-1", "address-2", back, "address-2"))
    for number in (9, 10):
        label = e.ShipmentPrepared(shipment_id=f"A-1:{number}", address=ADDRESS)
        await record(db, Change("A-1", f"prepared-{number}", label))
    late = e.ShipmentPrepared(shipment_id="A-1:0", address=ADDRESS)
    with pytest.raises(Rejected, match="after a later shipment"):
        await record(db, Change("A-1", "prepared-0", late))
    await assert_row_is_fold(db, "A-1")
    assert await db.fetchval("select shipment_id from orders") == "A-1:10"
