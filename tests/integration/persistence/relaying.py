"""Relays as real processes, and the topic read back."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.structs import TopicPartition

from devstack import Child
from domain import events as e
from domain.events import EVENT, Event
from persistence.queries import history
from persistence.relay import run_relay
from persistence.write import Change, record
from tests.integration.persistence.stories import received
from tests.support.waiting import until

PROGRAM = Path(__file__).with_name("relay_program.py")


@asynccontextmanager
async def relay_process(
    db_url: str, bootstrap: str, topic: str, log: Path, *ending: str
) -> AsyncIterator[Child]:
    """Run a relay as a process; ``ending``: signal, step and how often it comes before."""
    argv = [sys.executable, str(PROGRAM), db_url, bootstrap, topic, *ending]
    child = await Child.spawn("relay", argv, log_path=log)
    try:
        yield child
    finally:
        await child.kill()


@asynccontextmanager
async def relay_here(db_url: str, bootstrap: str, topic: str) -> AsyncIterator[asyncio.Task[None]]:
    """Run a relay in this process, and stop it cleanly."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_relay(db_url, bootstrap, topic, stop=stop))
    try:
        yield task
    finally:
        stop.set()
        await task


async def write_orders(db: asyncpg.Pool, orders: Iterable[str], events: int = 3) -> None:
    """Write ``events`` more events for each order id."""
    refused = e.CommandRejected(command_type="cancel", reason="none of your business")
    for order_id in orders:
        have = len(await history(db, order_id))
        for number in range(have, have + events):
            change = Change(order_id, f"c{number}", refused, f"c{number}")
            await record(db, change if number else received(order_id))


async def until_published(db: asyncpg.Pool) -> None:
    """Wait until the outbox is empty."""

    async def is_empty() -> bool:
        return not await db.fetchval("select exists (select from outbox)")

    await until(is_empty)


async def read_topic(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    """Return all that stands on a topic now; in order within each partition."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        partitions = [
            TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()
        ]
        ends = await consumer.end_offsets(partitions)
        records: list[ConsumerRecord] = []
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                records.append(await consumer.getone(partition))
        return records
    finally:
        await consumer.stop()


def by_order(records: Sequence[ConsumerRecord]) -> dict[str, list[Event]]:
    """Return the events of each order as they came."""
    orders: dict[str, list[Event]] = {}
    for one in records:
        event = EVENT.validate_json(one.value)
        assert one.key == event.order_id.encode()
        assert dict(one.headers)["ce_id"] == f"{event.order_id}-{event.sequence}".encode()
        orders.setdefault(event.order_id, []).append(event)
    return orders


async def assert_topic_tells_the_table(
    db: asyncpg.Pool, records: Sequence[ConsumerRecord], *, repeats: bool
) -> None:
    """Every event stands on the topic, none before the one it follows; repeats only if allowed."""
    orders = by_order(records)
    assert orders.keys() == {
        row["order_id"] for row in await db.fetch("select distinct order_id from events")
    }
    for order_id, seen in orders.items():
        newest = 0
        told: list[Event] = []
        for event in seen:
            assert event.sequence <= newest + 1, f"{order_id}: gap before {event.sequence}"
            if event.sequence == newest + 1:
                newest += 1
                told.append(event)
            else:
                assert event == told[event.sequence - 1], "a repeat says something else"
        assert told == await history(db, order_id)
        if not repeats:
            assert len(seen) == len(told), f"{order_id}: {[one.sequence for one in seen]}"


def sessions_of(pid: int, db_url: str) -> int:
    """Count a process's connections to PostgreSQL."""
    connections = psutil.Process(pid).net_connections(kind="tcp")
    port = urlsplit(db_url).port
    return sum(one.status == "ESTABLISHED" and one.raddr.port == port for one in connections)
