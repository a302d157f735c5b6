"""The write transaction: every change of an order goes through ``record``."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from domain.events import TYPE_OF, EventData
from domain.payments import PaymentStatus
from domain.states import State
from persistence.errors import database_errors
from persistence.pool import Executor

_RECORD: Final = """
call record_change_and_wake($1, $2, $3, $4, $5, $6, $7, null, null, null, null, null)
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One write: ``key`` is its idempotency key within the order, the class of ``data`` its type.

    ``payment`` is the status that the order's payment takes in the same transaction.
    """

    order_id: str
    key: str
    data: EventData
    command_id: str | None = None
    traceparent: str | None = None
    payment: PaymentStatus | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What stands now; ``repeated``: an earlier write with this key or command id stood already."""

    type: str
    sequence: int
    state: State | None
    at: datetime
    repeated: bool


async def record(conn: Executor, change: Change) -> Recorded:
    """Write the order's row, its next event, the outbox and its payment, all or nothing.

    One statement and one round trip: the procedure in the database locks the order id, looks
    for an earlier write with this command id or key and returns its result if there is one,
    checks the move, and numbers the event; after its commit it wakes the relay, so it cannot be
    part of a larger transaction. Died in the middle, nothing is written; died after the commit,
    a repetition returns what stands, and the relay comes by itself.

    Raises ``MoveNotAllowed``, ``AlreadyStarted`` (the order has been received by another
    command), ``Rejected`` (the database refuses a value), ``Unavailable`` (whether it was
    written is then unknown: repeat it).
    """
    with database_errors(change.order_id):
        row = await conn.fetchrow(
            _RECORD,
            change.order_id,
            change.key,
            TYPE_OF[type(change.data)],
            change.data.model_dump_json(exclude_none=True),
            change.command_id,
            change.traceparent,
            change.payment,
        )
    assert row is not None  # noqa: S101 - the function returns one row or raises
    return recorded(row, repeated=row["repeated"])


def recorded(row: asyncpg.Record, *, repeated: bool) -> Recorded:
    """Make the result from a row with type, sequence, state and at."""
    state = row["state"]
    return Recorded(
        row["type"], row["sequence"], State(state) if state else None, row["at"], repeated
    )
