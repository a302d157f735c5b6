"""Admission: starts wait in Kafka while too many orders are in motion."""

import math
import time
from collections.abc import Collection
from datetime import timedelta
from itertools import chain, islice
from typing import Final

import asyncpg

from ingest.window import FIRST, Window
from orchestration.timing import STRANDED_AFTER
from persistence.errors import database_errors
from persistence.pool import Executor
from persistence.queries import orders_in_motion

SLOW_AFTER_SHARE: Final = 1 / 3
"""Of its time: an order that has used more is slow. Nothing but load makes many of them so."""

DOUBTFUL_SECONDS: Final = 30.0
"""No worker has received it for so long: Temporal is asked whether the start is there at all."""

ASKED_AT_ONCE: Final = 500
"""Of so many starts is asked whether they have been received; of the others the next time."""

_RECEIVED: Final = "select order_id from orders where order_id = any($1::text[])"


class Admission:
    """How many starts this process may deliver now.

    ``limit`` bounds a window that opens while orders are quick and closes while they are slow:
    while more than a tenth has used a third of its time (``window``).

    All ingest processes share the window without talking to each other: each takes of the free
    room (its size less the orders in motion in PostgreSQL) the share that its partitions are
    of all partitions, less what it has delivered and no worker has received yet. What is
    received counts for everyone, so an idle process's share is not lost. The sum can exceed
    the window by one per process (shares are rounded up, or a small limit could starve).

    An order that waits for a person does not count, nor one that is stranded (a partner that is
    gone may hold its refund for hours): a few of them would hold up all others.

    What was delivered before this process had its partitions is found in Temporal (``inherit``)
    and counts for everyone, too: a process that is restarted while the workers are away would
    otherwise hand over as many starts again. A start that nobody will ever receive, since its
    workflow was terminated or knew its command id already, is found there to be gone
    (``keep_running``): otherwise it would take up room for ever.
    """

    def __init__(
        self, pool: asyncpg.Pool, limit: int, timeout_seconds: int = 15, first: int = FIRST
    ) -> None:
        self.in_motion = 0
        self.window = Window(limit, first)
        self._slow_when_left = timedelta(seconds=timeout_seconds * (1 - SLOW_AFTER_SHARE))
        self._pool = pool
        self._delivered: dict[str, float] = {}  # order id -> when
        self._inherited: dict[str, float] = {}
        self._room = 0

    @property
    def room(self) -> int:
        """How many more starts may be delivered before the next ``refresh``."""
        return self._room

    @property
    def unreceived(self) -> int:
        """How many delivered starts no worker has received yet, as far as this process knows."""
        return len(self._delivered) + len(self._inherited)

    @property
    def in_doubt(self) -> bool:
        """Whether some starts are counted of which only Temporal knows what became of them."""
        return bool(self._inherited) or any(map(_doubtful, self._delivered.values()))

    def admit(self, order_id: str) -> None:
        """Count a start as delivered from now on."""
        self._delivered[order_id] = time.monotonic()
        self._room -= 1

    async def inherit(self, running: Collection[str]) -> None:
        """Begin anew after an assignment: of ``running``, the orders that were started in
        Temporal, those that no worker has received yet count for every process.

        Raises ``Unavailable``; nothing has changed then.
        """
        received = await _received(self._pool, running)
        found = (order_id for order_id in running if order_id not in received)
        self._inherited = dict.fromkeys([*self._delivered, *found], 0.0)
        self._delivered.clear()

    def keep_running(self, running: Collection[str]) -> None:
        """Forget the starts in doubt whose workflow is not among ``running``, received or not."""
        found = set(running)
        self._inherited = {name: at for name, at in self._inherited.items() if name in found}
        self._delivered = {
            name: at for name, at in self._delivered.items() if name in found or not _doubtful(at)
        }

    async def refresh(self, share: float) -> None:
        """Count again; this process owns ``share`` (0 to 1) of all partitions.

        Raises ``Unavailable``; the room is then what it was.
        """
        # Received is asked first: an order received in between is counted twice, never not at all.
        asked = list(islice(chain(self._inherited, self._delivered), ASKED_AT_ONCE))
        received = await _received(self._pool, asked)
        for starts in (self._inherited, self._delivered):
            _forget(starts, asked, received)
        before = self.in_motion
        self.in_motion, slow = await orders_in_motion(
            self._pool, self._slow_when_left, STRANDED_AFTER
        )
        # What other processes had received is not known: the window grows more slowly then.
        ended = before + len(received) - self.in_motion
        self.window.adjust(self.in_motion, slow, ended, time.monotonic())
        free = share * (self.window.size - self.in_motion - len(self._inherited))
        self._room = math.ceil(free) - len(self._delivered)


def _doubtful(delivered_at: float) -> bool:
    return time.monotonic() - delivered_at >= DOUBTFUL_SECONDS


def _forget(starts: dict[str, float], asked: Collection[str], received: Collection[str]) -> None:
    """Take out what was received; what else was asked goes to the end, so that all have a turn."""
    for order_id in asked:
        if order_id in starts:
            delivered_at = starts.pop(order_id)
            if order_id not in received:
                starts[order_id] = delivered_at


async def _received(conn: Executor, order_ids: Collection[str]) -> set[str]:
    if not order_ids:
        return set()
    with database_errors():
        rows = await conn.fetch(_RECEIVED, list(order_ids))
    return {row["order_id"] for row in rows}
