"""Brings the database to the version that this code knows, and refuses to work on another."""

from pathlib import Path
from typing import Final

import asyncpg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from domain.errors import OrderError
from persistence.errors import database_errors
from persistence.pool import Executor, connect

SCRIPTS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x6F72646572  # "order"


class WrongVersion(OrderError):
    """The database is older or newer than this code; the text says what to do."""


async def migrate(db_url: str, revision: str = "head") -> None:
    """Upgrade to ``revision``, all versions in one transaction.

    Any number of processes may call this at once: the first one works, the others wait for its
    lock and find nothing to do. Died in the middle, the database stands where it stood. Raises
    ``Unavailable`` when PostgreSQL does not answer, ``WrongVersion`` when it is newer.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(
            db_url, "orders-migrate", statement_timeout="0", lock_timeout="0"
        ),
        poolclass=NullPool,
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(sqlalchemy.text(f"select pg_advisory_xact_lock({_LOCK})"))
            await connection.run_sync(_upgrade, revision)
    finally:
        await engine.dispose()


async def check_version(conn: Executor) -> None:
    """Raise ``WrongVersion`` unless the database has exactly the version this code knows."""
    with database_errors():
        try:
            found = await conn.fetchval("select version_num from alembic_version")
        except asyncpg.UndefinedTableError:
            found = None
    known = _known_versions()
    _refuse_newer(found, known)
    if found != known[0]:
        raise WrongVersion(
            f"the database has version {found or 'none'} and this program needs {known[0]}: "
            "run `orders migrate`"
        )


def _known_versions() -> list[str]:
    """Return the versions there are migrations for, the newest first."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in scripts.walk_revisions()]


def _refuse_newer(found: str | None, known: list[str]) -> None:
    if found is not None and found not in known:
        raise WrongVersion(
            f"the database has version {found}, and this program knows none above {known[0]}: "
            "run a newer program"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config


def _upgrade(connection: sqlalchemy.Connection, revision: str) -> None:
    _refuse_newer(MigrationContext.configure(connection).get_current_revision(), _known_versions())
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
