"""What is read is what was written, page by page."""

from datetime import UTC, datetime, timedelta

import asyncpg

from domain.events import EVENT
from domain.states import State
from persistence import queries
from persistence.payments import intend_charge
from persistence.write import record
from tests.integration.persistence.stories import AMOUNT, received, story


async def test_pages_of_orders_follow_each_other_without_gap_or_repeat(db: asyncpg.Pool) -> None:
    for number in range(25):
        await record(db, received(f"A-{number:02}"))
        if number % 5 == 0:
            await record(db, story(f"A-{number:02}")[1])
    for state, expected in (
        (None, [f"A-{n:02}" for n in range(25)]),
        (State.VALIDATED, [f"A-{n:02}" for n in range(0, 25, 5)]),
        (State.SHIPPED, []),
    ):
        seen: list[str] = []
        while page := await queries.list_orders(db, state, seen[-1] if seen else "", limit=4):
            assert len(page) <= 4
            seen += [order.order_id for order in page]
        assert seen == expected


async def test_counts_by_state_and_of_orders_whose_clock_runs(db: asyncpg.Pool) -> None:
    for number, steps in enumerate((1, 1, 2, 3, 4, 12)):
        for change in story(f"A-{number}")[:steps]:
            if change.key == "charged":
                await intend_charge(db, f"A-{number}:charge", f"A-{number}", AMOUNT, "USD")
            await record(db, change)
    counts = await queries.count_by_state(db)
    assert counts == dict.fromkeys(State, 0) | {
        State.RECEIVED: 2,
        State.VALIDATED: 1,
        State.IN_REVIEW: 1,
        State.APPROVED: 1,
        State.SHIPPED: 1,
    }
    # A person is asked about one, one is shipped.
    ages = timedelta(days=365_000)
    assert await queries.orders_in_motion(db, timedelta(0), ages) == (4, 0)
    assert await queries.orders_in_motion(db, ages, ages) == (4, 4)
    assert await queries.orders_in_motion(db, ages, -ages) == (0, 0), "all are stranded then"


async def test_an_order_is_overdue_by_the_clock_that_runs(db: asyncpg.Pool) -> None:
    for change in story("A-1")[:3]:  # waits for a person, for an hour
        await record(db, change)
    await record(db, received("A-2"))
    soon = datetime.now(UTC) + timedelta(minutes=1)
    late = datetime.now(UTC) + timedelta(hours=2)
    assert [order.order_id for order in await queries.overdue_orders(db, soon)] == ["A-2"]
    assert [one.order_id for one in await queries.overdue_orders(db, late)] == ["A-2", "A-1"]
    assert await queries.overdue_orders(db, datetime.now(UTC)) == []


async def test_a_command_is_found_by_its_id(db: asyncpg.Pool) -> None:
    first = await record(db, received("A-1", "c-1"))
    await record(db, received("A-2", "c-1"))
    assert await queries.outcome_of(db, "A-1", "c-2") is None
    outcome = await queries.outcome_of(db, "A-1", "c-1")
    assert outcome is not None
    assert (outcome.sequence, outcome.at, outcome.repeated) == (1, first.at, True)
    outcomes = await queries.outcomes_of(db, ["c-1", "c-3"])
    assert [one.order_id for one in outcomes] == ["A-1", "A-2"]
    assert outcomes[0].data["address"]["city"] == "Anytown"
    assert await queries.outcomes_of(db, ["c-2"]) == []


async def test_history_goes_on_after_a_number(db: asyncpg.Pool) -> None:
    for change in story("A-1")[:4]:
        await record(db, change)
    assert [event.sequence for event in await queries.history(db, "A-1", after=2)] == [3, 4]
    assert [event.sequence for event in await queries.history(db, "A-1", limit=1)] == [1]
    assert await queries.history(db, "nobody") == []
    payloads = await db.fetch("select payload from outbox order by id")
    assert await queries.history(db, "A-1") == [
        EVENT.validate_json(row["payload"]) for row in payloads
    ]
