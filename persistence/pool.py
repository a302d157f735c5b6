"""Connections to PostgreSQL: how they are opened, named, limited and given back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from persistence.errors import database_errors

Executor = asyncpg.Connection | PoolConnectionProxy | asyncpg.Pool
"""What a query may run on; given a pool, it takes a connection for that one statement."""

CONNECT_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 15.0
"""The client's own limit, above the server's, for a server that does not answer at all."""

LIMITS: Final = {
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "15s",
    "timezone": "UTC",
    # The statements are short and prepared; compiling them costs more than it saves.
    "jit": "off",
}


async def open_pool(db_url: str, application_name: str, size: int) -> asyncpg.Pool:
    """Open up to ``size`` connections, seen as ``application_name`` in pg_stat_activity.

    A connection that the server ended is replaced at its next use, prepared statements and
    all. Raises ``Unavailable`` when PostgreSQL does not answer.
    """
    with database_errors():
        return await asyncpg.create_pool(
            db_url,
            min_size=0,  # a floor would be restored with a traceback in the log while it is away
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings={"application_name": application_name, **LIMITS},
            reset=_reset,
        )


async def connect(
    db_url: str,
    application_name: str,
    command_seconds: float = COMMAND_SECONDS,
    **settings: str,
) -> asyncpg.Connection:
    """Open one connection outside of a pool; ``settings`` override the server's limits.

    Raises ``Unavailable`` when PostgreSQL does not answer.
    """
    with database_errors():
        return await asyncpg.connect(
            db_url,
            timeout=CONNECT_SECONDS,
            command_timeout=command_seconds,
            server_settings={"application_name": application_name, **LIMITS, **settings},
        )


@asynccontextmanager
async def lease(pool: asyncpg.Pool) -> AsyncIterator[PoolConnectionProxy]:
    """Take a connection from the pool; raises ``Unavailable`` when there is none to be had."""
    with database_errors():
        connection = await pool.acquire(timeout=CONNECT_SECONDS)
    try:
        yield connection
    finally:
        with database_errors():
            await pool.release(connection)


async def _reset(connection: asyncpg.Connection) -> None:
    """Spare the round trip that the default spends on every release.

    Nothing here leaves session state behind; only an open transaction would have to be ended.
    """
    if connection.is_in_transaction():
        await connection.reset()
