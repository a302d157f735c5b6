"""What all simulated partners have in common: their books, and their faults.

The books are a table of the partners' own, ``partners.ledger``: shared by all worker processes,
still there after a restart, and open to whoever wants to check what was really charged,
refunded and dispatched. A key is written once; a repeat gets what was written first.

With faults ``flaky`` every call raises with probability 0.33, hangs for 300 s with 0.34, and
else works. A call that raises or hangs has taken effect all the same in half of the cases.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

import asyncpg

from domain.errors import PartnerUnavailable, Unavailable
from persistence.errors import database_errors

ANSWER_SECONDS: Final = 0.03
HANG_SECONDS: Final = 300.0
RAISES: Final = 0.33
HANGS: Final = 0.34
TAKES_EFFECT_ALL_THE_SAME: Final = 0.5

_SETUP: Final = """
select pg_advisory_xact_lock(7061727);
create schema if not exists partners;
create table if not exists partners.ledger (
    key text primary key,
    operation text not null,
    order_id text not null,
    detail jsonb not null,
    at timestamptz not null default clock_timestamp()
);
"""
_ONCE: Final = """
with written as (
    insert into partners.ledger (key, operation, order_id, detail) values ($1, $2, $3, $4)
    on conflict (key) do nothing returning operation, detail
)
select operation, detail from written
union all select operation, detail from partners.ledger where key = $1 limit 1
"""
_FIND: Final = "select operation, detail from partners.ledger where key = $1"

T = TypeVar("T")


class Faults(StrEnum):
    """How the simulated partners behave."""

    NONE = "none"
    FLAKY = "flaky"


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in the books under a key."""

    operation: str
    detail: dict[str, Any]


class Ledger:
    """The partners' books."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(self) -> None:
        """Create the table unless it is there."""
        with database_errors():
            await self._pool.execute(_SETUP)

    async def write_once(
        self, key: str, operation: str, order_id: str, detail: dict[str, Any]
    ) -> Entry:
        """Write under ``key`` unless something stands there; return what stands."""
        values = (key, operation, order_id, json.dumps(detail))
        row = None
        while row is None:  # a concurrent writer's row shows only in the next snapshot
            row = await self._fetch(_ONCE, *values)
        return Entry(row["operation"], json.loads(row["detail"]))

    async def find(self, key: str) -> Entry | None:
        """Return what stands under ``key``."""
        row = await self._fetch(_FIND, key)
        return Entry(row["operation"], json.loads(row["detail"])) if row else None

    async def _fetch(self, query: str, *values: str) -> asyncpg.Record | None:
        try:
            with database_errors():
                return await self._pool.fetchrow(query, *values)
        except Unavailable as error:
            raise PartnerUnavailable(f"simulated partner: {error}") from error


class SimulatedPartner:
    """Answers after about 30 ms, or not: see the module."""

    def __init__(self, ledger: Ledger, faults: Faults, chance: random.Random) -> None:
        self.ledger = ledger
        self._faults = faults
        self._chance = chance

    async def once(self, key: str, operation: str, order_id: str, detail: dict[str, Any]) -> Entry:
        """Have an effect once; return what stands under ``key``."""
        return await self.answer(lambda: self.ledger.write_once(key, operation, order_id, detail))

    async def answer(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work like a partner in trouble: perhaps, and perhaps without saying so."""
        drawn = self._chance.random() if self._faults is Faults.FLAKY else 1.0
        if drawn >= RAISES + HANGS:
            await asyncio.sleep(ANSWER_SECONDS)
            return await work()
        if self._chance.random() < TAKES_EFFECT_ALL_THE_SAME:
            await work()
        if drawn < RAISES:
            await asyncio.sleep(ANSWER_SECONDS)
            raise PartnerUnavailable("simulated fault: connection reset")
        await asyncio.sleep(HANG_SECONDS)
        raise PartnerUnavailable("simulated fault: no answer")
