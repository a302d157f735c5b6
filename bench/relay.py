"""Measures the relay over a real broker and a real PostgreSQL of its own.

    python -m bench.relay [--rounds N] [--quick] [drain] [latency] [outbox]

drain    a backlog of 1 KB events to four partitions, acks=all, in alternation with the bare
         idempotent producer that sends the same bytes: events/s, CPU, and the ratio per round
latency  from the return of the commit to the append by the broker (its own timestamp, whole
         milliseconds) and to the arrival at a consumer, at 50 events/s
outbox   size of the outbox and its index while 200,000 events pass at a steady rate
"""

import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.command import Options, options
from bench.data import keep
from devstack import Child, free_port
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from devstack.server import Home
from domain.events import CommandRejected
from persistence.cloudevents import headers
from persistence.migrate import migrate
from persistence.relay import run_relay
from persistence.write import Change, record

DRAIN_EVENTS: Final = 100_000
ROUNDS: Final = 3
LATENCY_RATE: Final = 50
LATENCY_EVENTS: Final = 1500
WARM_EVENTS: Final = 100
OUTBOX_EVENTS: Final = 200_000
OUTBOX_CHUNK: Final = 250
OUTBOX_RATE: Final = 2000

_BACKLOG: Final = """
insert into outbox (aggregateid, type, payload, sequence, at)
select 'B-' || (i % 5000), 'order.received',
       ('{"type":"order.received","pad":"' || repeat('x', 1000 - 37) || '"}')::json,
       i / 5000 + 1, clock_timestamp()
from generate_series($1::int, $2::int - 1) i
"""

_RELAY: Final = """
import asyncio, signal, sys
from persistence.relay import run_relay
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_relay(*sys.argv[1:], stop=stop)
asyncio.run(main())
"""


@dataclass(frozen=True)
class Servers:
    """Where the servers are, and a connection to the database."""

    db_url: str
    bootstrap: str
    db: asyncpg.Connection
    directory: Path
    backlog: int

    async def topic(self, **configs: str) -> str:
        """Make a topic with four partitions and return its name."""
        name = f"events-{uuid.uuid4().hex}"
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            answer = await admin.create_topics([NewTopic(name, 4, 1, topic_configs=configs)])
        finally:
            await admin.close()
        if any(code for _, code, *_ in answer.topic_errors):
            raise RuntimeError(str(answer.topic_errors))
        return name

    async def until_published(self) -> None:
        """Wait until the outbox is empty."""
        while await self.db.fetchval("select exists (select from outbox)"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def relay(self, topic: str) -> AsyncIterator[None]:
        """Run a relay as a process of its own."""
        argv = [sys.executable, "-c", _RELAY, self.db_url, self.bootstrap, topic]
        child = await Child.spawn("relay", argv, log_path=self.directory / "relay.log")
        try:
            yield
        finally:
            await child.terminate()


@contextlib.asynccontextmanager
async def servers(backlog: int) -> AsyncIterator[Servers]:
    """Start PostgreSQL and a broker that keep their data as in production."""
    with tempfile.TemporaryDirectory(prefix="bench-relay-") as name:
        directory = Path(name)
        (directory / "logs").mkdir()
        home = Home(directory, (), persistent=True, say=print, died=print)
        postgres, kafka = Postgres(home, free_port()), Kafka(home, free_port())
        try:
            await asyncio.gather(postgres.start(), kafka.start())
            db_url = f"postgresql://orders@{postgres.where}/orders"
            await migrate(db_url)
            db = await asyncpg.connect(db_url)
            try:
                yield Servers(db_url, kafka.where, db, directory, backlog)
            finally:
                await db.close()
        finally:
            await asyncio.gather(postgres.stop(), kafka.stop())


async def measure(work: Callable[[], Coroutine[Any, Any, None]]) -> tuple[float, float]:
    """Return seconds of wall and of this process's CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu


async def drain(at: Servers, given: Options) -> None:
    """Print and keep the rates of relay and bare producer, round by round."""
    ratios: list[float] = []
    began = uuid.uuid4().hex
    print(f"drain: {at.backlog} events of 1 KB, 4 partitions, acks=all")
    for number in range(1, given.rounds + 1):
        rates: dict[str, float] = {}
        for name, one in random.sample([("relay", drain_by_relay), ("bare", drain_bare)], 2):
            wall, cpu = await one(at)
            rates[name] = at.backlog / wall
            run = {"variant": name, "events": at.backlog, "rate": rates[name], "cpu": cpu}
            keep(given.directory, "relay", {"began": began, "round": number, **run})
            print(
                f"  round {number} {name:5}: {rates[name]:7.0f} events/s, "
                f"{cpu / wall:4.2f} cores, {at.backlog / cpu:7.0f} events per CPU second"
            )
        ratios.append(rates["relay"] / rates["bare"])
    print(f"  relay / bare: median {statistics.median(ratios):.2f}, worst {min(ratios):.2f}")


async def drain_by_relay(at: Servers) -> tuple[float, float]:
    """Drain a backlog with a relay in this process; the figure includes its start."""
    topic = await at.topic()
    await at.db.execute(_BACKLOG, 0, at.backlog)
    await at.db.execute("analyze outbox")
    stop = asyncio.Event()

    async def until_empty() -> None:
        relay = asyncio.create_task(run_relay(at.db_url, at.bootstrap, topic, stop=stop))
        await at.until_published()
        stop.set()
        await relay

    figures = await measure(until_empty)
    if await count(at, topic) != at.backlog:
        raise RuntimeError("the relay did not publish what it deleted")
    return figures


async def drain_bare(at: Servers) -> tuple[float, float]:
    """Send the same bytes with the plain producer, rows and headers made beforehand."""
    topic = await at.topic()
    await at.db.execute(_BACKLOG, 0, at.backlog)
    rows = await at.db.fetch(
        "select aggregateid, type, payload::text as payload, sequence, at, null as traceparent "
        "from outbox order by id"
    )
    await at.db.execute("truncate outbox")
    ready = [(row["aggregateid"].encode(), row["payload"].encode(), headers(row)) for row in rows]
    producer = AIOKafkaProducer(
        bootstrap_servers=at.bootstrap,
        enable_idempotence=True,
        acks="all",
        max_batch_size=128 * 1024,
    )

    async def send_all() -> None:
        await producer.start()
        try:
            sent = [await producer.send(topic, value, key, headers=h) for key, value, h in ready]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    figures = await measure(send_all)
    if await count(at, topic) != at.backlog:
        raise RuntimeError("the producer did not publish everything")
    return figures


async def count(at: Servers, topic: str) -> int:
    """Return how many records a topic without repeats holds."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=at.bootstrap) as consumer:
        return sum((await consumer.end_offsets(list(consumer.assignment()))).values())


async def latency(at: Servers, given: Options) -> None:
    """Print and keep the distributions of the time from commit to topic and to consumer."""
    topic = await at.topic(**{"message.timestamp.type": "LogAppendTime"})
    appended: dict[str, float] = {}
    arrived: dict[str, float] = {}
    committed: dict[str, float] = {}

    async def consume(consumer: AIOKafkaConsumer) -> None:
        async for one in consumer:
            event = dict(one.headers)["ce_id"].decode()
            arrived[event] = time.time()
            appended[event] = one.timestamp / 1000
            if len(arrived) == WARM_EVENTS + LATENCY_EVENTS:
                return

    consumer = AIOKafkaConsumer(topic, bootstrap_servers=at.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    consuming = asyncio.create_task(consume(consumer))
    try:
        async with at.relay(topic):
            await write_at_rate(at, {}, WARM_EVENTS)
            await at.until_published()  # so the relay has started, however long that took
            await write_at_rate(at, committed, LATENCY_EVENTS)
            await asyncio.wait_for(consuming, 60)
    finally:
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
        await consumer.stop()
    for name, reached in (("topic", appended), ("consumer", arrived)):
        times = sorted((reached[one] - committed[one]) * 1000 for one in committed)
        found = {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}
        keep(given.directory, "relay", {"variant": f"commit to {name}", **found})
        print(
            f"latency at {LATENCY_RATE} events/s, commit to {name:8}, {len(times)} events: "
            f"p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms, "
            f"max {times[-1]:.1f} ms"
        )


async def write_at_rate(at: Servers, committed: dict[str, float], events: int) -> None:
    """Write single events in even steps and note when each commit returned."""
    start = time.perf_counter()
    for number in range(events):
        await asyncio.sleep(max(0.0, start + number / LATENCY_RATE - time.perf_counter()))
        refused = CommandRejected(command_type="cancel", reason=f"at {datetime.now(UTC)}")
        order_id = f"L-{uuid.uuid4().hex[:12]}"
        result = await record(at.db, Change(order_id, "c", refused, "c"))
        committed[f"{order_id}-{result.sequence}"] = time.time()


async def outbox(at: Servers, _given: Options) -> None:
    """Print the size of table and index as the events pass."""
    topic = await at.topic()
    await at.db.execute("truncate outbox")
    print(f"outbox: {OUTBOX_EVENTS} events of 1 KB at {OUTBOX_RATE}/s")
    async with at.relay(topic):
        start = time.perf_counter()
        for done in range(0, OUTBOX_EVENTS, OUTBOX_CHUNK):
            await asyncio.sleep(max(0.0, start + done / OUTBOX_RATE - time.perf_counter()))
            await at.db.execute(_BACKLOG, done, done + OUTBOX_CHUNK)
            if done % 20_000 == 0:
                await print_sizes(at, done)
        await at.until_published()
        await print_sizes(at, OUTBOX_EVENTS)


async def print_sizes(at: Servers, done: int) -> None:
    row = await at.db.fetchrow(
        "select pg_relation_size('outbox') as heap, pg_indexes_size('outbox') as index, "
        "(select count(*) from outbox) as rows, "
        "(select autovacuum_count from pg_stat_user_tables where relname = 'outbox') as vacuums"
    )
    if row is None:
        raise RuntimeError("no such table")
    print(
        f"  after {done:7}: table {row['heap'] / 2**20:6.1f} MB, index "
        f"{row['index'] / 2**20:5.2f} MB, {row['rows']} rows, {row['vacuums']} vacuums"
    )


PARTS: Final = {"drain": drain, "latency": latency, "outbox": outbox}


async def main(given: Options) -> None:
    """Run the named parts over servers of their own."""
    backlog = DRAIN_EVENTS // 10 if given.quick else DRAIN_EVENTS
    async with servers(backlog) as at:
        for part in ("drain",) if given.quick else given.only:
            await PARTS[part](at, given)


if __name__ == "__main__":
    asyncio.run(main(options(__doc__, "relay", ROUNDS, tuple(PARTS))))
