"""Brings the database to the version that this code knows, and refuses to work on another."""

from typing import Final

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from persistence.pool import connect
from persistence.version import SCRIPTS, refuse_newer

_LOCK: Final = 0x6F72646572  # "order"


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


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config


def _upgrade(connection: sqlalchemy.Connection, revision: str) -> None:
    refuse_newer(MigrationContext.configure(connection).get_current_revision())
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
