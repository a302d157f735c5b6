"""Connections are named, limited, and come back after they were lost."""

import asyncio

import asyncpg
import pytest

from domain.errors import Unavailable
from persistence.pool import lease, open_pool
from persistence.queries import get_order


async def test_a_connection_is_named_and_limited(db_url: str) -> None:
    pool = await open_pool(db_url, application_name="orders-worker", size=2)
    async with lease(pool) as conn:
        settings = {
            name: await conn.fetchval(f"show {name}")
            for name in (
                "application_name",
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
            )
        }
    await pool.close()
    assert settings == {
        "application_name": "orders-worker",
        "statement_timeout": "10s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "15s",
    }


async def test_a_pool_opens_no_more_than_its_size(db: asyncpg.Pool, db_url: str) -> None:
    pool = await open_pool(db_url, application_name="sized", size=3)
    await asyncio.gather(*(get_order(pool, f"A-{n}") for n in range(50)))
    count = "select count(*) from pg_stat_activity where application_name = 'sized'"
    assert await db.fetchval(count) == 3
    await pool.close()


async def test_a_pool_goes_on_when_all_its_sessions_were_ended(
    db: asyncpg.Pool, db_url: str
) -> None:
    pool = await open_pool(db_url, application_name="ended", size=3)
    await asyncio.gather(*(get_order(pool, f"A-{n}") for n in range(50)))
    await db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ended'"
    )
    for _ in range(4):  # each connection is found lost once at the most
        try:
            assert await get_order(pool, "A-1") is None
            break
        except Unavailable:
            continue
    else:
        pytest.fail("the pool did not recover")
    await pool.close()


async def test_a_connection_that_is_returned_in_a_transaction_is_cleaned(db_url: str) -> None:
    pool = await open_pool(db_url, application_name="tests", size=1)
    async with lease(pool) as conn:
        await conn.execute("begin")
        await conn.execute("create table left_behind (x int)")
    async with lease(pool) as conn:
        assert await conn.fetchval("select to_regclass('left_behind')") is None
    await pool.close()


async def test_an_exhausted_pool_is_unavailable(
    db_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistence.pool.CONNECT_SECONDS", 0.2)
    pool = await open_pool(db_url, application_name="tests", size=1)
    async with lease(pool):
        with pytest.raises(Unavailable):
            async with lease(pool):
                pass
    await pool.close()


async def test_a_statement_that_takes_too_long_is_unavailable(db_url: str) -> None:
    pool = await open_pool(db_url, application_name="tests", size=1)
    async with lease(pool) as conn:
        await conn.execute("set statement_timeout = '50ms'")
        await conn.execute("set search_path = slow, public")
        await conn.execute("create schema slow")
        await conn.execute(
            "create view slow.orders as select * from public.orders "
            "where (select count(*) from generate_series(1, 1000000000)) > 0"
        )
        with pytest.raises(Unavailable, match="statement timeout"):
            await get_order(conn, "A-1")
    await pool.close()
