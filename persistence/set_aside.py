"""Events that the broker will not take, and those that wait behind them in their orders."""

from dataclasses import dataclass
from datetime import datetime

from persistence.errors import database_errors
from persistence.pool import Executor


@dataclass(frozen=True, slots=True)
class SetAside:
    """The events of one order that are not published; ``reason`` is that of the first one."""

    order_id: str
    first_sequence: int
    events: int
    reason: str
    since: datetime


async def list_set_aside(conn: Executor, limit: int = 100) -> list[SetAside]:
    """Return up to ``limit`` orders with events that were set aside, the oldest first."""
    with database_errors():
        rows = await conn.fetch(
            """
            select aggregateid as order_id, min(sequence) as first_sequence, count(*) as events,
                   (array_agg(reason order by sequence))[1] as reason, min(set_aside_at) as since
            from outbox_set_aside group by aggregateid order by since, order_id limit $1
            """,
            limit,
        )
    return [SetAside(**row) for row in rows]


async def count_set_aside(conn: Executor) -> int:
    """Count the events that were set aside."""
    with database_errors():
        count: int = await conn.fetchval("select count(*) from outbox_set_aside")
    return count
