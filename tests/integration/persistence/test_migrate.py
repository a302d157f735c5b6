"""Migrations: from nothing and from every version, by many at once, and never onto another."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from devstack import Child, Endpoints
from domain.errors import Unavailable
from persistence.migrate import migrate
from persistence.pool import open_pool
from persistence.queries import get_order
from persistence.version import SCRIPTS, WrongVersion, check_version, known_versions
from persistence.write import record
from tests.integration.persistence.stories import received, write_within

VERSIONS = known_versions()


@pytest.fixture
async def empty_url(endpoints: Endpoints, db_url: str) -> AsyncIterator[str]:
    """The URL of a database with nothing in it."""
    name = f"empty_{db_url.rpartition('/')[2]}"
    admin = await asyncpg.connect(endpoints.db_url)
    await admin.execute(f'create database "{name}" template template0')
    yield f"{db_url.rpartition('/')[0]}/{name}"
    await admin.execute(f'drop database "{name}" with (force)')
    await admin.close()


async def schema_of(db_url: str) -> list[str]:
    """Return every column, constraint, index, trigger and function, as text."""
    connection = await asyncpg.connect(db_url)
    try:
        rows = await connection.fetch(
            """
            select 'column ' || table_name || ' ' || column_name || ' ' || data_type as it
                from information_schema.columns where table_schema = 'public'
            union all select 'constraint ' || conrelid::regclass || pg_get_constraintdef(oid)
                from pg_constraint where connamespace = 'public'::regnamespace
            union all select indexdef from pg_indexes where schemaname = 'public'
            union all select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
            union all select pg_get_functiondef(oid) from pg_proc
                where pronamespace = 'public'::regnamespace
            order by it
            """
        )
    finally:
        await connection.close()
    return [row["it"] for row in rows]


def test_the_versions_this_code_knows_are_those_that_alembic_finds() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    assert [script.revision for script in scripts] == VERSIONS[::-1]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_database_of_any_version_becomes_the_newest_and_keeps_its_rows(
    empty_url: str, db_url: str, version: str
) -> None:
    await migrate(empty_url, version)
    pool = await open_pool(empty_url, application_name="tests", size=2)
    try:
        await write_within(pool, received("A-1"))
        before = await get_order(pool, "A-1")
        await migrate(empty_url)
        await check_version(pool)
        assert await get_order(pool, "A-1") == before
        assert (await record(pool, received("A-1"))).repeated
    finally:
        await pool.close()
    assert await schema_of(empty_url) == await schema_of(db_url)


async def test_many_processes_may_migrate_at_once(
    empty_url: str, db_url: str, tmp_path: Path
) -> None:
    code = "import asyncio, sys; from persistence.migrate import migrate; "
    code += "asyncio.run(migrate(sys.argv[1]))"
    argv = [sys.executable, "-c", code, empty_url]
    children = [await Child.spawn("migrate", argv, log_path=tmp_path / "log") for _ in range(6)]
    codes = [await child.wait() for child in children]
    assert codes == [0] * 6, (tmp_path / "log").read_text()
    assert await schema_of(empty_url) == await schema_of(db_url)


async def test_a_migration_that_is_cut_off_leaves_nothing_behind(empty_url: str) -> None:
    blocker = await asyncpg.connect(empty_url)
    async with blocker.transaction():
        await blocker.execute("create table events (x int)")  # the migration waits for this one
        attempt = asyncio.create_task(migrate(empty_url))
        await asyncio.sleep(0.5)
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
    await blocker.execute("drop table events")
    assert not [it for it in await schema_of(empty_url) if not it.startswith("column alembic")]
    await blocker.close()
    await migrate(empty_url)


async def test_services_refuse_a_database_that_is_older(empty_url: str) -> None:
    connection = await asyncpg.connect(empty_url)
    with pytest.raises(WrongVersion, match=r"version none .* run `orders migrate`"):
        await check_version(connection)
    await migrate(empty_url, VERSIONS[0])
    if VERSIONS[0] != VERSIONS[-1]:
        with pytest.raises(WrongVersion, match=rf"{VERSIONS[0]} .* needs {VERSIONS[-1]}.* migrate"):
            await check_version(connection)
    await connection.close()


async def test_services_and_migrations_refuse_a_database_that_is_newer(
    db: asyncpg.Pool, db_url: str
) -> None:
    await db.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(WrongVersion, match=r"9999.* run a newer program"):
        await check_version(db)
    with pytest.raises(WrongVersion, match=r"9999.* run a newer program"):
        await migrate(db_url)


async def test_migrating_without_a_server_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="PostgreSQL"):
        await migrate("postgresql://x@127.0.0.1:1/x")
