"""The outbox as one relay sees it: a shard's lock and rows, and who else is at work."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import asyncpg

from domain.errors import Unavailable
from persistence.errors import database_errors
from persistence.pool import connect

SHARDS: Final = 4
"""Fixed by the generated column outbox.shard."""

LEASE_SECONDS: Final = 5
"""A session of a relay that shows no life for so long is ended by another relay. A frozen
process keeps its connection (its kernel goes on answering), so the lock alone would never go.

A relay waits as long for an answer before it takes its connection for lost, as one is whose
packets go nowhere: by then another has its shards."""

_SHARD_LOCK: Final = 0x0B0C5
_RELAY_LOCK: Final = 0x0B0C6


class ShardTaken(Unavailable):
    """Another relay holds the shard."""


@dataclass(frozen=True, slots=True)
class View:
    """How many relays are at work, and which shards are held by any of them."""

    relays: int
    held: frozenset[int]


class Presence:
    """A relay's announcement to the others, and its eyes."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def announce(cls, db_url: str) -> AsyncIterator["Presence"]:
        """Be counted until the end of the block, or of the process."""
        connection = await connect(db_url, "orders-relay", LEASE_SECONDS)
        try:
            with database_errors():
                await connection.execute(
                    f"select pg_advisory_lock({_RELAY_LOCK}, pg_backend_pid())"
                )
            yield cls(connection)
        finally:
            await _close(connection)

    async def look(self) -> View:
        """End the sessions of relays that show no life, and return who is left."""
        with database_errors():
            rows = await self._connection.fetch(
                """
                select l.classid::int as kind, l.objid::int as key,
                       a.state_change < clock_timestamp() - $3::interval
                           and pg_terminate_backend(a.pid) as ended
                from pg_locks l join pg_stat_activity a using (pid)
                where l.locktype = 'advisory' and l.granted and l.objsubid = 2
                  and l.database = (select oid from pg_database where datname = current_database())
                  and l.classid::int in ($1, $2)
                """,
                _SHARD_LOCK,
                _RELAY_LOCK,
                timedelta(seconds=LEASE_SECONDS),
            )
        alive = [row for row in rows if not row["ended"]]
        return View(
            relays=sum(row["kind"] == _RELAY_LOCK for row in alive),
            held=frozenset(row["key"] for row in alive if row["kind"] == _SHARD_LOCK),
        )


class Shard:
    """A shard that this relay holds, by a session lock on the connection that reads its rows.

    Whoever reads rows here held the shard at that moment: lock and rows share their session.
    """

    def __init__(self, connection: asyncpg.Connection, number: int) -> None:
        self._connection = connection
        self._statement = asyncio.Lock()
        self._woken = asyncio.Event()
        self.number = number

    @classmethod
    @asynccontextmanager
    async def hold(cls, db_url: str, number: int) -> AsyncIterator["Shard"]:
        """Hold the shard until the end of the block; raises ``ShardTaken``, ``Unavailable``."""
        connection = await connect(db_url, f"orders-relay-{number}", LEASE_SECONDS)
        try:
            with database_errors():
                if not await connection.fetchval(
                    "select pg_try_advisory_lock($1, $2)", _SHARD_LOCK, number
                ):
                    raise ShardTaken(f"another relay holds shard {number}")
                shard = cls(connection, number)
                await connection.add_listener("outbox", shard._notified)
            yield shard
        finally:
            await _close(connection)

    async def read(self, limit: int) -> list[asyncpg.Record]:
        """Return the oldest rows, by id, which within an order is the order of its events.

        ``blocked`` rows belong to an order some earlier event of which has been set aside.
        """
        self._woken.clear()
        async with self._exclusive():
            return await self._connection.fetch(
                """
                select id, aggregateid, type, payload::text as payload, sequence, at, traceparent,
                       exists (select from outbox_set_aside s
                               where s.aggregateid = o.aggregateid) as blocked
                from outbox o where shard = $1 order by id limit $2
                """,
                self.number,
                limit,
            )

    async def delete(self, ids: Sequence[int]) -> None:
        """Remove rows that the broker acknowledged."""
        async with self._exclusive():
            await self._connection.execute(
                "delete from outbox where shard = $1 and id = any($2::bigint[])", self.number, ids
            )

    async def set_aside(self, ids: Sequence[int], reason: str, *, behind: bool = False) -> None:
        """Move rows to outbox_set_aside, where they wait for ``release_set_aside(order_id)``.

        ``behind``: only while an earlier event of their order is there; it may have been
        released since the rows were read.
        """
        async with self._exclusive():
            await self._connection.execute(
                """
                with taken as (
                    delete from outbox o where shard = $1 and id = any($2::bigint[])
                        and (not $4 or exists (select from outbox_set_aside s
                                               where s.aggregateid = o.aggregateid))
                    returning *
                )
                insert into outbox_set_aside (id, aggregatetype, aggregateid, type, payload,
                                              sequence, at, traceparent, reason)
                select id, aggregatetype, aggregateid, type, payload, sequence, at, traceparent, $3
                from taken order by id
                """,
                self.number,
                ids,
                reason,
                behind,
            )

    async def show_life(self) -> None:
        """Keep the lock while nothing else is asked of the database; raises if it is lost."""
        async with self._exclusive():
            await self._connection.execute("select 1")

    @asynccontextmanager
    async def _exclusive(self) -> AsyncIterator[None]:
        """One statement at a time: the heartbeat runs beside the publishing."""
        async with self._statement:
            with database_errors():
                yield

    async def wait(self, seconds: float) -> None:
        """Wait until a row was written to this shard, at most ``seconds``."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    def wake(self) -> None:
        """End a wait."""
        self._woken.set()

    def _notified(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload == str(self.number):
            self._woken.set()


async def vacuum(db_url: str) -> None:
    """Make the room of deleted rows usable again, so that the table stays as small as it is.

    Autovacuum looks around once a minute by default, too seldom for rows that live for
    milliseconds: at 2,000 events/s the table grew by 2.2 MB a second (bench/relay.py). Raises
    ``Unavailable``; without the right to vacuum, PostgreSQL only warns.
    """
    connection = await connect(db_url, "orders-relay-vacuum", statement_timeout="10min")
    try:
        with database_errors():
            await connection.execute("vacuum (skip_locked, truncate false) outbox", timeout=600)
    finally:
        await _close(connection)


async def _close(connection: asyncpg.Connection) -> None:
    """Close for good; a connection that is lost already, or does not answer, is dropped."""
    try:
        await connection.close(timeout=2)
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError):
        connection.terminate()
