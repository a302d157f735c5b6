"""The promises of docs/architecture.md, asked of PostgreSQL and of the partners' books.

Both lie in one database, so that one snapshot shows what stands at one moment.
"""

from typing import Any, Final

import asyncpg

from domain.events import Event
from domain.model import Address
from domain.states import TERMINAL
from persistence.pool import Executor
from persistence.queries import history
from tests.integration.persistence.stories import assert_row_is_fold

MAY_STAND: Final[dict[tuple[int, int], set[str | None]]] = {
    # (charges, refunds) in the bank's books: what payments may say at that moment
    (0, 0): {None, "charging", "declined", "void"},
    (1, 0): {"charging", "charged", "refunding"},
    (1, 1): {"refunding", "refunded"},
}
SETTLED: Final[dict[tuple[int, int], set[str | None]]] = {
    (0, 0): {None, "declined", "void"},
    (1, 1): {"refunded"},
}


async def hold_at_every_moment(db: asyncpg.Pool, order_id: str) -> None:
    """Row, events, payment and the bank's books agree, whatever is under way."""
    async with db.acquire() as conn, conn.transaction(isolation="repeatable_read"):
        await assert_row_is_fold(conn, order_id)
        events = await history(conn, order_id)
        books = await _books(conn, order_id)
        query = "select status from payments where order_id = $1"
        payment = await conn.fetchval(query, order_id)
    story = [event.type.removeprefix("order.") for event in events]
    ends = [number for number, told in enumerate(story) if told in TERMINAL]
    assert len(ends) <= 1, story
    assert set(story[ends[0] + 1 :] if ends else ()) <= {"command_rejected"}, story
    answered = [event.command_id for event in events if event.command_id]
    assert len(answered) == len(set(answered)), story
    assert payment in MAY_STAND[books.count("charge"), books.count("refund")], (story, books)
    assert books.count("dispatch") <= 1, books
    assert not ("dispatch" in books and "refund" in books), books


async def hold_in_the_end(db: asyncpg.Pool, order_id: str, asked: set[str]) -> None:
    """The order is decided, each command in ``asked`` has one outcome, the money is right."""
    await hold_at_every_moment(db, order_id)
    events, books = await history(db, order_id), await _books(db, order_id)
    assert {event.command_id for event in events if event.command_id} == asked
    story = [event.type.removeprefix("order.") for event in events]
    if "received" not in story:
        assert set(story) == {"command_rejected"}
        assert books == []
        return
    end = next(told for told in story if told in TERMINAL)
    payment = await db.fetchval("select status from payments where order_id = $1", order_id)
    charges = books.count("charge"), books.count("refund")
    if end == "shipped":
        assert (*charges, books.count("dispatch"), payment) == (1, 0, 1, "charged"), story
        assert await _label(db, order_id) == _last_address(events), story
    else:
        assert "dispatch" not in books, story
        assert payment in SETTLED[charges], (story, books)
    if "review_requested" in story and "charge" in books:
        assert "approved" in story, story


async def _books(conn: Executor, order_id: str) -> list[str]:
    """What the partners have really done for an order, in order."""
    query = "select operation from partners.ledger where order_id = $1 order by at"
    return [row["operation"] for row in await conn.fetch(query, order_id)]


async def _label(db: asyncpg.Pool, order_id: str) -> Address:
    """The address that the carrier really has."""
    query = "select detail->'address' from partners.ledger where order_id = $1 and operation = $2"
    found: str = await db.fetchval(query, order_id, "dispatch")
    return Address.model_validate_json(found)


def _last_address(events: list[Event]) -> Any:
    moves = ("order.received", "order.address_updated")
    return [event.data.address for event in events if event.type in moves][-1]  # type: ignore[union-attr]
