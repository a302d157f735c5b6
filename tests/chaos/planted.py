"""Bugs to be found: each breaks one rule of the design, in the role processes of one run.

They replace functions of the service at run time; no line of production code knows of them.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Final

from tests.chaos.crash_points import wrap

Function = Callable[..., Any]


def _commit_before_finish() -> None:
    """Ingest commits what it has read, not what is finished."""
    from ingest.offsets import Offsets

    Offsets.position = property(lambda self: self._next)  # type: ignore[assignment, method-assign]


def _delete_before_ack() -> None:
    """The relay deletes rows, then sends them."""

    async def publish_batch(shard: Any, publisher: Any, limit: int = 1000) -> int:
        rows = await shard.read(limit)
        if rows:
            await shard.delete([row["id"] for row in rows])
            sent = await publisher.send(rows)
            for error, _ in sent.refused:
                raise error
        return len(rows)

    wrap("persistence.relay:publish_batch", lambda _: publish_batch)


def _charge_without_key() -> None:
    """Every attempt to charge has a key of its own."""

    def patched(once: Function) -> Function:
        async def call(self: Any, key: str, operation: str, *rest: Any) -> Any:
            if operation == "charge":
                key = f"{key}:{uuid.uuid4().hex}"
            return await once(self, key, operation, *rest)

        return call

    wrap("orchestration.gateways.payments:SimulatedPayments.once", patched)


def _no_refund() -> None:
    """The refund is recorded; the bank is never asked for it."""

    async def refund(*_: Any) -> None:
        return None

    wrap("orchestration.gateways.payments:SimulatedPayments.refund", lambda _: refund)


def _event_outside_the_transaction() -> None:
    """State and audit trail are committed first, the event to be published after."""
    from persistence import write

    write._RECORD = "select * from record_change($1, $2, $3, $4, $5, $6, $7)"  # type: ignore[misc]

    def patched(record: Function) -> Function:
        async def call(pool: Any, change: Any) -> Any:
            async with pool.acquire() as conn:
                async with conn.transaction():
                    recorded = await record(conn, change)
                    row = await conn.fetchrow(
                        "delete from outbox where aggregateid = $1 and sequence = $2"
                        " returning aggregateid, type, payload, sequence, at, traceparent",
                        change.order_id,
                        None if recorded.repeated else recorded.sequence,
                    )
                if row is not None:
                    await conn.execute(
                        "insert into outbox (aggregateid, type, payload, sequence, at, traceparent)"
                        " values ($1, $2, $3, $4, $5, $6)",
                        *row.values(),
                    )
            return recorded

        return call

    wrap("ingest.handle:record", patched)  # first: it takes its name from the other
    wrap("persistence.write:record", patched)


def _skip_locked_relay() -> None:
    """All relays read all shards at once, each row by one of them: for update skip locked."""
    from aiokafka import AIOKafkaProducer

    from persistence import outbox
    from persistence.publisher import Publisher

    async def read(self: Any, _limit: int) -> Sequence[Any]:
        self._woken.clear()
        async with self._exclusive():
            if self._connection.is_in_transaction():
                await self._connection.execute("rollback")
            await self._connection.execute("begin")
            rows: Sequence[Any] = await self._connection.fetch(
                "select id, aggregateid, type, payload::text as payload, sequence, at,"
                " traceparent, false as blocked from outbox where shard = $1"
                " order by id limit 5 for update skip locked",
                self.number,
            )
            return rows

    def committing(delete: Function) -> Function:
        async def call(self: Any, ids: Sequence[int]) -> None:
            await delete(self, ids)
            await self._connection.execute("commit")

        return call

    def alone(look: Function) -> Function:
        async def call(self: Any) -> Any:
            return replace(await look(self), relays=1, held=frozenset())

        return call

    async def start(bootstrap: str, topic: str, *_: Any) -> Publisher:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
        await producer.start()
        await producer.partitions_for(topic)
        return Publisher(producer, topic, 256 * 1024)

    outbox._SHARD_LOCK = uuid.uuid4().int % 2**30  # type: ignore[misc]
    wrap("persistence.outbox:Shard.read", lambda _: read)
    wrap("persistence.outbox:Shard.delete", committing)
    wrap("persistence.outbox:Presence.look", alone)
    wrap("persistence.publisher:Publisher.start", lambda _: staticmethod(start))


def _reject_duplicate_only() -> None:
    """An order id is used up by a run that only waited for a start."""
    from temporalio.common import WorkflowIDReusePolicy

    policy = SimpleNamespace(ALLOW_DUPLICATE_FAILED_ONLY=WorkflowIDReusePolicy.REJECT_DUPLICATE)
    wrap("orchestration.temporal_client:WorkflowIDReusePolicy", lambda _: policy)  # type: ignore[arg-type, return-value]


def _sticky_time_out_default() -> None:
    """A dead worker's workflow tasks wait for it as long as Temporal's default says."""
    wrap("orchestration.timing:STICKY_TIMEOUT", lambda _: timedelta(seconds=10))  # type: ignore[arg-type, return-value]


def _long_session() -> None:
    """The group waits half a minute for a dead ingest."""

    def patched(consumer: Function) -> Function:
        return lambda *args, **kwargs: consumer(*args, **kwargs | {"session_timeout_ms": 30_000})

    wrap("ingest.consumer:AIOKafkaConsumer", patched)


def _endless_lease() -> None:
    """A relay that shows no life keeps its shards."""
    wrap("persistence.outbox:LEASE_SECONDS", lambda _: 600)  # type: ignore[arg-type, return-value]


@dataclass(frozen=True, slots=True)
class Bug:
    """``caught_by``: the checks that may find it.

    ``kinds``, ``stories``: the faults and the stories that bring it to light, which a run that
    looks for this bug alone makes; without ``stories``: all of them. ``rate``: of that run.
    """

    plant: Callable[[], None]
    caught_by: frozenset[str]
    kinds: tuple[str, ...] = ("kill worker",)
    stories: tuple[str, ...] = ()
    rate: float = 3.0


BUGS: Final[dict[str, Bug]] = {
    "commit-before-finish": Bug(
        _commit_before_finish,
        frozenset({"exactly one outcome", "one life"}),
        ("kill ingest in an outage", "kill ingest"),
    ),
    "delete-before-ack": Bug(
        _delete_before_ack,
        frozenset({"topic is the table"}),
        ("kill relay in an outage", "kill kafka"),
    ),
    "charge-without-key": Bug(
        _charge_without_key, frozenset({"money", "payments agree with the bank"})
    ),
    "no-refund": Bug(_no_refund, frozenset({"money", "payments agree with the bank"})),
    "event-outside-the-transaction": Bug(
        _event_outside_the_transaction,
        frozenset({"topic is the table"}),
        ("slow postgres", "kill postgres"),
    ),
    "skip-locked-relay": Bug(
        _skip_locked_relay,
        frozenset({"topic is the table"}),
        ("freeze relay", "freeze kafka", "kill kafka"),
    ),
    "reject-duplicate-only": Bug(_reject_duplicate_only, frozenset({"one life"})),
    "sticky-time-out-default": Bug(
        _sticky_time_out_default,
        frozenset({"goes on"}),
        stories=("approved",),  # while nothing else is to be done, only the sticky queue is in play
        rate=1.0,
    ),
    "long-session": Bug(
        _long_session,
        frozenset({"goes on"}),
        ("kill ingest",),
        stories=("approved", "cancelled_late"),  # their second command comes to a known order
    ),
    "endless-lease": Bug(_endless_lease, frozenset({"goes on"}), ("freeze relay",)),
}
