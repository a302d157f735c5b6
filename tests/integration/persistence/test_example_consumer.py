"""The consumer that docs/events.md shows, run as it stands there."""

import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from devstack import Child, Endpoints
from persistence.outbox import SHARDS, Shard
from persistence.publisher import Publisher
from tests.integration.persistence.relaying import relay_here, until_published, write_orders
from tests.support.topics import Topics
from tests.support.waiting import until

PAGE = Path(__file__).parents[3] / "docs" / "events.md"
ORDERS = [f"A-{n}" for n in range(30)]


REFUSES_REPEATS = """
create table orders (order_id primary key, sequence, state);
create trigger forwards before update on orders when new.sequence <> old.sequence + 1
begin select raise(abort, 'a repeat changed the table, or an event was skipped'); end;
"""


@pytest.mark.chaos
async def test_the_example_keeps_its_table_right_over_a_kill_and_repeats(
    db: asyncpg.Pool, db_url: str, endpoints: Endpoints, topics: Topics, tmp_path: Path
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    program, table = tmp_path / "keep_table.py", tmp_path / "orders.db"
    program.write_text(code)
    with closing(sqlite3.connect(table)) as connection:
        connection.executescript(REFUSES_REPEATS)
    there = [endpoints.kafka_bootstrap, topics.events]
    argv = [sys.executable, str(program), *there, str(table)]

    async def has_begun() -> bool:
        return bool(rows_of(table))

    async def is_right() -> bool:
        assert example.returncode is None, (tmp_path / "log").read_text()
        return rows_of(table) == await expected(db)

    for condition in (has_begun, is_right):
        await write_orders(db, ORDERS)
        await publish_without_deleting(db_url, *there)
        example = await Child.spawn("example", argv, log_path=tmp_path / "log")
        try:
            async with relay_here(db_url, *there):
                await until_published(db)
            await until(condition)
        finally:
            await example.kill()


async def publish_without_deleting(db_url: str, bootstrap: str, topic: str) -> None:
    """Send what is in the outbox without deleting it, as a relay does that dies before that."""
    for number in range(SHARDS):
        async with Shard.hold(db_url, number) as shard:
            publisher = await Publisher.start(bootstrap, topic, number)
            try:
                await publisher.send(await shard.read(1000))
            finally:
                await publisher.stop()


async def expected(db: asyncpg.Pool) -> list[tuple[str, int, str]]:
    rows = await db.fetch("select order_id, sequence, state from orders order by order_id")
    return [(row["order_id"], row["sequence"], row["state"]) for row in rows]


def rows_of(table: Path) -> list[tuple[str, int, str]]:
    with closing(sqlite3.connect(table)) as db:
        try:
            return db.execute(
                "select order_id, sequence, state from orders order by order_id"
            ).fetchall()
        except sqlite3.OperationalError:  # not made yet, or just being written
            return []
