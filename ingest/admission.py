"""Admission: starts wait in Kafka while too many orders are in motion."""

import math
from typing import Final

import asyncpg

from persistence.errors import database_errors
from persistence.pool import Executor
from persistence.queries import orders_in_motion

_RECEIVED: Final = "select order_id from orders where order_id = any($1::text[])"


class Admission:
    """How many starts this process may deliver now.

    All ingest processes share ``limit`` without talking to each other: each takes of the free
    room (``limit`` less the orders in motion in PostgreSQL) the share that its partitions are
    of all partitions, less what it has delivered and no worker has received yet. What is
    received counts for everyone, so an idle process's share is not lost. The sum can exceed
    ``limit`` by one per process (shares are rounded up, or a small limit could starve).

    An order that waits for a person does not count. After a restart or a rebalance, starts that
    were delivered and not received yet are unknown to their new owner until a worker takes them.
    """

    def __init__(self, pool: asyncpg.Pool, limit: int) -> None:
        self.limit = limit
        self.in_motion = 0
        self._pool = pool
        self._delivered: set[str] = set()
        self._room = 0

    @property
    def room(self) -> int:
        """How many more starts may be delivered before the next ``refresh``."""
        return self._room

    @property
    def unreceived(self) -> int:
        """How many delivered starts no worker has received yet."""
        return len(self._delivered)

    def admit(self, order_id: str) -> None:
        """Count a start as delivered from now on."""
        self._delivered.add(order_id)
        self._room -= 1

    async def refresh(self, share: float) -> None:
        """Count again; this process owns ``share`` (0 to 1) of all partitions.

        Raises ``Unavailable``; the room is then what it was.
        """
        # Received is asked first: an order received in between is counted twice, never not at all.
        if self._delivered:
            received = await _received(self._pool, list(self._delivered))
            self._delivered -= received
        self.in_motion = await orders_in_motion(self._pool)
        free = share * (self.limit - self.in_motion)
        self._room = math.ceil(free) - len(self._delivered)


async def _received(conn: Executor, order_ids: list[str]) -> set[str]:
    with database_errors():
        rows = await conn.fetch(_RECEIVED, order_ids)
    return {row["order_id"] for row in rows}
