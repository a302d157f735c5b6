"""What is read: orders, their histories, the outcome of commands. Every query has its index."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from domain.events import EVENT, Event
from domain.states import State
from persistence.errors import database_errors
from persistence.payments import Payment, payment_from
from persistence.pool import Executor
from persistence.write import Recorded, recorded

PAGE_MAX: Final = 1000
PAGE: Final = 100
"""Of orders that are looked for because something is wrong with them."""

_ORDER: Final = """
select order_id, state, address, items, amount, currency, reason, deadline, decide_by, payment_id,
       shipment_id, tracking_number, sequence, received_at, updated_at
from orders
"""


_PAYMENT_COLUMNS: Final = tuple(column.name for column in fields(Payment))

_ORDER_AND_PAYMENT: Final = f"""
select o.*, {", ".join(f"p.{name} as paid_{name}" for name in _PAYMENT_COLUMNS)}
from ({_ORDER}) o left join payments p on p.order_id = o.order_id where o.order_id = $1
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Order:
    """A row of orders, the fold of the order's events; ``amount`` in minor units."""

    order_id: str
    state: State
    address: dict[str, str]
    items: list[dict[str, Any]] | None
    amount: int | None
    currency: str | None
    reason: str | None
    deadline: datetime
    decide_by: datetime | None
    payment_id: str | None
    shipment_id: str | None
    tracking_number: str | None
    sequence: int
    received_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command, and of which order."""

    command_id: str
    order_id: str
    recorded: Recorded
    data: dict[str, Any]


async def get_order(conn: Executor, order_id: str) -> Order | None:
    """Return the order as it stands, or ``None``."""
    with database_errors(order_id):
        row = await conn.fetchrow(_ORDER + "where order_id = $1", order_id)
    return _order(dict(row)) if row else None


async def order_and_payment(conn: Executor, order_id: str) -> tuple[Order | None, Payment | None]:
    """Return the order as it stands, or ``None``, and its payment, where there is one."""
    with database_errors(order_id):
        row = await conn.fetchrow(_ORDER_AND_PAYMENT, order_id)
    if row is None:
        return None, None
    columns = dict(row)
    paid = {name: columns.pop(f"paid_{name}") for name in _PAYMENT_COLUMNS}
    return _order(columns), payment_from(paid) if paid["payment_id"] else None


async def history(
    conn: Executor, order_id: str, after: int = 0, limit: int = PAGE_MAX
) -> list[Event]:
    """Return the events of an order id numbered above ``after``, oldest first."""
    with database_errors(order_id):
        rows = await conn.fetch(
            """
            select type, order_id, sequence, at, state, command_id, data
            from events where order_id = $1 and sequence > $2 order by sequence limit $3
            """,
            order_id,
            after,
            limit,
        )
    return [_event(row) for row in rows]


async def outcome_of(conn: Executor, order_id: str, command_id: str) -> Recorded | None:
    """Return the event that a command caused on an order, or ``None`` while it has none."""
    with database_errors(order_id):
        row = await conn.fetchrow(
            "select type, sequence, state, at from events where order_id = $1 and command_id = $2",
            order_id,
            command_id,
        )
    return recorded(row, repeated=True) if row else None


async def outcomes_of(conn: Executor, command_ids: Sequence[str]) -> list[Outcome]:
    """Return what these command ids caused, for each order they were used on (usually one)."""
    with database_errors():
        rows = await conn.fetch(
            """
            select command_id, order_id, type, sequence, state, at, data
            from events where command_id = any($1::text[]) order by command_id, order_id
            """,
            command_ids,
        )
    return [
        Outcome(
            row["command_id"],
            row["order_id"],
            recorded(row, repeated=True),
            json.loads(row["data"]),
        )
        for row in rows
    ]


async def list_orders(
    conn: Executor, state: State | None = None, after: str = "", limit: int = 50
) -> list[Order]:
    """Return up to ``limit`` orders (in one state) with ids above ``after``, by id.

    The last id of a page is the ``after`` of the next.
    """
    where = "where order_id > $1" if state is None else "where order_id > $1 and state = $3"
    arguments: Sequence[object] = (after, min(limit, PAGE_MAX), *([] if state is None else [state]))
    with database_errors():
        rows = await conn.fetch(_ORDER + where + " order by order_id limit $2", *arguments)
    return [_order(dict(row)) for row in rows]


async def orders_in_motion(
    conn: Executor, pressed: timedelta, stranded: timedelta
) -> tuple[int, int]:
    """Count the orders whose clock runs: neither ended nor waiting for a person.

    The second number is how many of them have less than ``pressed`` left. Those whose deadline
    passed longer than ``stranded`` ago are left out: something other than load holds them.
    """
    with database_errors():
        row = await conn.fetchrow(_IN_MOTION, pressed, stranded)
    assert row is not None  # noqa: S101 - an aggregate has one row
    return row["orders"], row["pressed"]


async def unpublished_for(conn: Executor) -> float:
    """Return for how many seconds the oldest event has been waiting for the relay; 0: none."""
    with database_errors():
        seconds: float = await conn.fetchval(
            """
            select coalesce(extract(epoch from clock_timestamp() - min(first.at)), 0)::float8
            from generate_series(0, 3) as shards (number),
            lateral (select at from outbox where shard = number order by id limit 1) as first
            """
        )
    return seconds


async def count_by_state(conn: Executor) -> dict[State, int]:
    """Count the orders in each state; reads the index alone, from end to end."""
    with database_errors():
        rows = await conn.fetch(
            """
            select s.state, (select count(*) from orders o where o.state = s.state) as orders
            from unnest($1::text[]) s (state)
            """,
            list(State),
        )
    return {State(row["state"]): row["orders"] for row in rows}


async def unsettled_orders(conn: Executor, before: datetime, page: int = 0) -> list[Order]:
    """Return orders that have ended and whose payment has been unclear since before ``before``.

    By id; ``page`` says which ``PAGE`` of them, from 0.
    """
    with database_errors():
        rows = await conn.fetch(_UNSETTLED, before, PAGE, page * PAGE)
    return [_order(dict(row)) for row in rows]


async def overdue_orders(conn: Executor, before: datetime, page: int = 0) -> list[Order]:
    """Return orders still open though their clock ran out before ``before``, oldest first.

    While a person is asked the clock is ``decide_by``, else ``deadline``. ``page`` as above.
    """
    with database_errors():
        rows = await conn.fetch(
            f"{_ORDER} where {_OPEN} and coalesce(decide_by, deadline) < $1 "
            "order by coalesce(decide_by, deadline), order_id limit $2 offset $3",
            before,
            PAGE,
            page * PAGE,
        )
    return [_order(dict(row)) for row in rows]


_OPEN: Final = "state not in ('shipped', 'rejected', 'cancelled', 'failed')"
"""Word for word the predicate of the index orders_open."""

_UNSETTLED: Final = f"""
{_ORDER} where not ({_OPEN}) and order_id in (
    select order_id from payments where status in ('charging', 'refunding') and updated_at < $1
) order by order_id limit $2 offset $3
"""  # noqa: S608 - a constant

_IN_MOTION: Final = f"""
select count(*) as orders, count(*) filter (where deadline < now() + $1) as pressed
from orders where {_OPEN} and state <> 'in_review' and deadline >= now() - $2::interval
"""  # noqa: S608 - a constant


def _order(columns: dict[str, Any]) -> Order:
    columns["state"] = State(columns["state"])
    columns["address"] = json.loads(columns["address"])
    columns["items"] = columns["items"] and json.loads(columns["items"])
    return Order(**columns)


def _event(row: asyncpg.Record) -> Event:
    fields = {**row, "state": row["state"] and State(row["state"]), "data": json.loads(row["data"])}
    fields["at"] = row["at"].isoformat()
    return EVENT.validate_json(json.dumps(fields))
