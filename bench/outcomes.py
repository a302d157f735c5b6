"""What became of orders: in time or not, how long it took, and whether the money is right."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import asyncpg

_ORDERS: Final = """
select o.state, o.deadline,
       (select at from events e where e.order_id = o.order_id and type = 'order.received') as began,
       (select min(at) from events e where e.order_id = o.order_id and type in
        ('order.shipped', 'order.rejected', 'order.cancelled', 'order.failed')) as ended
from orders o where o.order_id = any($1::text[])
"""
_MONEY: Final = """
select count(*) filter (where charges = 1 and refunds = 0 and state is distinct from 'shipped')
           as charged_and_not_shipped,
       count(*) filter (where charges > 1) as charged_twice,
       count(*) filter (where refunds > 1 or refunds > charges) as refunded_too_often,
       count(*) filter (where charges = 0 and state = 'shipped') as shipped_and_not_charged,
       count(*) filter (where charges = 1) as charged,
       count(*) filter (where refunds = 1) as refunded
from (select o.order_id, o.state,
             count(*) filter (where l.operation = 'charge') as charges,
             count(*) filter (where l.operation = 'refund') as refunds
      from orders o left join partners.ledger l on l.order_id = o.order_id
      where o.order_id = any($1::text[]) group by o.order_id, o.state) books
"""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """``on_time``: the share that was shipped before its deadline. Seconds from the applied start
    to the end, of all orders. ``money``: counted in the partners' own books."""

    orders: int
    shipped: int
    on_time: float
    p50: float
    p99: float
    worst: float
    money: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return asdict(self)


async def outcomes_of(db: asyncpg.Connection, order_ids: Sequence[str]) -> Outcomes:
    """Look up what became of orders, all of which have ended.

    Raises ``RuntimeError`` when one has not: nothing was measured then.
    """
    rows = await db.fetch(_ORDERS, list(order_ids))
    if len(rows) != len(order_ids) or any(row["ended"] is None for row in rows):
        raise RuntimeError(f"{len(order_ids)} orders were started, {len(rows)} are there")
    shipped = [row for row in rows if row["state"] == "shipped"]
    in_time = [row for row in shipped if row["ended"] <= row["deadline"]]
    seconds = [(row["ended"] - row["began"]).total_seconds() for row in rows]
    money = await db.fetchrow(_MONEY, list(order_ids))
    return Outcomes(
        orders=len(rows),
        shipped=len(shipped),
        on_time=len(in_time) / len(rows),
        p50=percentile(seconds, 0.5),
        p99=percentile(seconds, 0.99),
        worst=max(seconds),
        money=dict(money or {}),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of all are not above."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
