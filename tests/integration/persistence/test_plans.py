"""With many orders in the database, nothing reads a table from end to end.

100,000 orders by default; ``PLAN_ORDERS=1000000`` makes a million, which takes a minute.
"""

import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from bench.million_orders import fill
from devstack import Endpoints
from domain.payments import PaymentStatus
from domain.states import State
from persistence import payments, queries
from persistence.migrate import migrate
from persistence.version import check_version
from persistence.write import record
from tests.integration.persistence.stories import AMOUNT, story

ORDERS = int(os.environ.get("PLAN_ORDERS", "100000"))
BIG = ("orders", "events", "payments")


_OWE = """
set session_replication_role = replica;
insert into payments (payment_id, order_id, status, amount, currency)
    values ('M-00000005:charge', 'M-00000005', 'refunding', 450, 'USD');
set session_replication_role = origin;
"""
"""One order that has failed still owes its money; no order of ``fill`` does."""


@pytest.fixture(scope="module")
async def million(endpoints: Endpoints) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with so many orders."""
    name = f"million_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(endpoints.db_url)
    await admin.execute(f"create database {name} template template0")
    db_url = f"{endpoints.db_url.rpartition('/')[0]}/{name}"
    try:
        await migrate(db_url)
        await fill(db_url, ORDERS)
        connection = await asyncpg.connect(db_url)
        await connection.execute(_OWE)
        yield connection
        await connection.close()
    finally:
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()


class Explaining:
    """A connection that explains each statement before it runs it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.nodes: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def explained(statement: str, *arguments: object) -> Any:
            plan = await self._connection.fetchval(f"explain (format json) {statement}", *arguments)
            self.nodes += nodes_of(json.loads(plan)[0]["Plan"])
            return await getattr(self._connection, name)(statement, *arguments)

        return explained


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


SOON = datetime.now(UTC) + timedelta(days=1)
READS: dict[str, tuple[Callable[[Any], Awaitable[Any]], str]] = {
    "an order": (lambda db: queries.get_order(db, "M-00000009"), "orders_pkey"),
    "an order and its payment": (
        lambda db: queries.order_and_payment(db, "M-00000009"),
        "payments_order_id_key",
    ),
    "its history": (lambda db: queries.history(db, "M-00000009"), "events_pkey"),
    "orders": (lambda db: queries.list_orders(db, None, "M-00050000"), "orders_pkey"),
    "orders that are shipped": (
        lambda db: queries.list_orders(db, State.SHIPPED, "M-00050000"),
        "orders_pkey",  # nearly all are: it walks them by id and leaves some out
    ),
    "orders that are charged": (
        lambda db: queries.list_orders(db, State.CHARGED, "M-00050000"),
        "orders_by_state or orders_open",
    ),
    "counts by state": (queries.count_by_state, "orders_by_state"),
    "orders in motion": (
        lambda db: queries.orders_in_motion(db, timedelta(seconds=10), timedelta(seconds=30)),
        "orders_open",
    ),
    "orders that are late": (lambda db: queries.overdue_orders(db, SOON), "orders_open"),
    "ended orders that owe money": (
        lambda db: queries.unsettled_orders(db, SOON),
        "payments_unsettled",
    ),
    "a command by its id": (lambda db: queries.outcomes_of(db, ["c-9"]), "events_by_command"),
    "a command of an order": (
        lambda db: queries.outcome_of(db, "M-00000009", "c-9"),
        "events_by_command",
    ),
    "a payment": (lambda db: payments.get_payment(db, "M-00000009:charge"), "payments_pkey"),
}


@pytest.mark.parametrize("read", READS)
async def test_a_read_uses_its_index(million: asyncpg.Connection, read: str) -> None:
    ask, index = READS[read]
    explaining = Explaining(million)
    assert await ask(explaining), "the read found nothing, so its plan says little"
    assert {node.get("Index Name") for node in explaining.nodes} & set(index.split(" or "))
    scanned = [
        node["Relation Name"] for node in explaining.nodes if node["Node Type"] == "Seq Scan"
    ]
    assert not scanned


async def test_writing_scans_no_table(million: asyncpg.Connection) -> None:
    """The statements inside the functions, whose plans nobody shows, by the server's counters."""
    await check_version(million)
    before = await sequential_scans(million)
    for number in range(12):  # enough for the functions' generic plans
        for change in story(f"N-{number}"):
            if change.key == "charged":
                charge = f"N-{number}:charge"
                await payments.intend_charge(million, charge, change.order_id, AMOUNT, "USD")
            await record(million, change)
            assert (await record(million, change)).repeated
        await payments.intend_refund(million, f"N-{number}:charge")
        await payments.move_payment(million, f"N-{number}:charge", PaymentStatus.REFUNDED)
    assert await sequential_scans(million) == before
    assert await million.fetchval("select count(*) from orders") == ORDERS + 12


async def sequential_scans(connection: asyncpg.Connection) -> dict[str, int]:
    await connection.execute("select pg_stat_force_next_flush()")
    await connection.execute("select pg_stat_clear_snapshot()")
    rows = await connection.fetch(
        "select relname, seq_scan from pg_stat_user_tables where relname = any($1)", list(BIG)
    )
    return {row["relname"]: row["seq_scan"] for row in rows}
