"""Measures ingest beside the bare calls that it makes.

    python -m bench.ingest [decode] [deliver] [--commands N] [--rounds N] [--quick]

decode   one core: records parsed, validated and put in their lanes, per second
deliver  commands a second from the topic to Temporal through a whole ingest process's parts, in
         alternation with a plain loop that makes the same signal-with-start calls with the same
         concurrency; CPU of this process for each command; the ratio of each round

The servers are its own and share this machine; there is no worker, and each run has a task queue of
its own: a new process looks in Temporal for starts that no worker has received, and would find
those of the runs before.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
from aiokafka import AIOKafkaProducer
from temporalio.client import Client

from bench.data import KEPT, LOOK, keep
from devstack import Ports, Stack
from domain.commands import StartOrder
from ingest.admission import Admission
from ingest.consumer import CommandConsumer, make_consumer
from ingest.dead_letters import DeadLetters, make_producer
from ingest.decode import decode
from ingest.handle import CommandHandler
from ingest.lanes import Bounds, Lanes
from ingest.log import configure_logging
from ingest.metrics import Metrics
from ingest.topics import create_topics
from orchestration.contract import CommandMessage, OrderPolicy
from orchestration.temporal_client import connect, deliver
from persistence.migrate import migrate
from persistence.pool import open_pool

DECODE_RECORDS: Final = 30_000
CONCURRENCY: Final = Bounds().running
POLICY: Final = OrderPolicy()
ADDRESS: Final = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}


@dataclass
class Record:
    """A record as the consumer gets it."""

    value: bytes | None
    key: bytes | None
    offset: int
    topic: str = "orders.commands"
    partition: int = 0
    headers: Sequence[tuple[str, bytes | None]] = ()


def commands(prefix: str, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Make keys and values of ``count`` orders' starts, as the README's kcat line writes them."""
    for number in range(count):
        order_id = f"{prefix}-{number}"
        command = {"type": "start", "order_id": order_id, "initial_address": ADDRESS}
        yield order_id.encode(), json.dumps(command).encode()


def measure_decode(rounds: int, kept: Path) -> None:
    """Print and keep how many records one core takes from bytes to a lane and out again."""
    rates = []
    for number in range(rounds):
        records = [
            Record(value, key, offset)
            for offset, (key, value) in enumerate(commands(f"D{number}", DECODE_RECORDS))
        ]
        lanes: Lanes[CommandMessage] = Lanes()
        began = time.process_time()
        for record in records:
            message = decode(record)
            gated = isinstance(message.command, StartOrder)
            lanes.take(
                0,
                record.offset,
                message.command.order_id,
                len(record.value or b""),
                message,
                gated=gated,
            )
            for entry in lanes.dispatch(1):
                lanes.finish(entry)
        rates.append(DECODE_RECORDS / (time.process_time() - began))
        keep(kept, "ingest", {"round": number, "variant": "decode", "rate": rates[-1]})
    print(
        f"decode   {statistics.median(rates):8,.0f} records/s of CPU time (median of {rounds} "
        f"rounds of {DECODE_RECORDS:,}, {min(rates):,.0f} to {max(rates):,.0f})"
    )


@dataclass(frozen=True)
class Parts:
    """What both ways need."""

    bootstrap: str
    client: Client
    pool: asyncpg.Pool
    producer: AIOKafkaProducer


@asynccontextmanager
async def parts(directory: Path) -> AsyncIterator[Parts]:
    """Start the servers and connect to them."""
    async with Stack(directory, Ports.free(), print, persistent=False) as stack:
        await migrate(stack.endpoints.db_url)
        async with AsyncExitStack() as exits:
            pool = await open_pool(stack.endpoints.db_url, "bench", size=8)
            exits.push_async_callback(pool.close)
            bootstrap = stack.endpoints.kafka_bootstrap
            host, port = stack.endpoints.temporal_host, stack.endpoints.temporal_port
            producer = make_producer(bootstrap)
            await producer.start()
            exits.push_async_callback(producer.stop)
            yield Parts(bootstrap, await connect(host, port, "default"), pool, producer)


@dataclass(frozen=True)
class Spent:
    """What ``count`` commands took: seconds, and seconds of this process's CPU."""

    count: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Commands a second."""
        return self.count / self.seconds


class Clock:
    """Measures from its making on."""

    def __init__(self) -> None:
        self._began, self._used = time.perf_counter(), time.process_time()

    def spent(self, count: int) -> Spent:
        """Return what was spent since."""
        return Spent(count, time.perf_counter() - self._began, time.process_time() - self._used)


async def through_ingest(parts: Parts, count: int) -> Spent:
    """Fill a topic, then consume it: from the assignment of its partitions to the last call."""
    run = uuid.uuid4().hex[:8]
    topic, dead = f"commands-{run}", f"dlt-{run}"
    await create_topics(parts.bootstrap, topic, f"events-{run}", dead)
    acknowledged = [
        await parts.producer.send(topic, value, key) for key, value in commands(run, count)
    ]
    await asyncio.gather(*acknowledged)
    consumer = make_consumer(parts.bootstrap, run)
    await consumer.start()
    joined, stop = asyncio.Event(), asyncio.Event()
    metrics = Metrics()
    ingest = CommandConsumer(
        consumer,
        topic,
        CommandHandler(parts.client, parts.pool, POLICY, run),
        DeadLetters(parts.producer, dead),
        Admission(parts.pool, limit=10 * count, first=10 * count),
        metrics,
        joined.set,
    )
    running = asyncio.create_task(ingest.run(stop))
    await joined.wait()
    clock = Clock()
    delivered = 0
    while delivered < count:
        await asyncio.sleep(0.01)
        delivered = metrics.outcomes().get("delivered", 0)
    spent = clock.spent(count)
    stop.set()
    await running
    await consumer.stop()
    return spent


async def bare(parts: Parts, count: int) -> Spent:
    """Make the same calls from as many plain loops, with commands that are decoded already."""
    run = uuid.uuid4().hex[:8]
    messages = iter(
        [
            decode(Record(value, key, offset))
            for offset, (key, value) in enumerate(commands(run, count))
        ]
    )

    async def loop() -> None:
        for message in messages:
            await deliver(parts.client, message, POLICY, run)

    clock = Clock()
    await asyncio.gather(*(loop() for _ in range(CONCURRENCY)))
    return clock.spent(count)


async def measure_deliver(count: int, rounds: int, kept: Path) -> None:
    """Print and keep both rates of each round, and the median of their ratios."""
    ways = {"ingest": through_ingest, "bare": bare}
    began = uuid.uuid4().hex
    ratios = []
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as directory:
        async with parts(Path(directory)) as both:
            for way in ways.values():
                await way(both, count // 4)  # the first calls of a new server are slower
            for number in range(rounds):
                spent = {
                    name: await ways[name](both, count)
                    for name in sorted(ways, reverse=bool(number % 2))
                }
                ratios.append(spent["ingest"].rate / spent["bare"].rate)
                for name, of in spent.items():
                    run = {"commands": count, "rate": of.rate, "cpu": of.cpu}
                    keep(kept, "ingest", {"began": began, "round": number, "variant": name, **run})
                texts = [
                    f"{name} {of.rate:6,.0f}/s {of.cpu / count * 1e6:4.0f} us CPU a command"
                    for name, of in sorted(spent.items())
                ]
                print(f"round {number + 1}  {'   '.join(texts)}   ratio {ratios[-1]:.2f}")
    print(
        f"deliver  {statistics.median(ratios):.2f} of the bare rate (median of {rounds} rounds of "
        f"{count:,}, {min(ratios):.2f} to {max(ratios):.2f})"
    )


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=("decode", "deliver", []))
    parser.add_argument("--commands", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help=f"a look, kept in {LOOK}")
    given = parser.parse_args()
    configure_logging("json")  # as the role does: what was delivered is not logged
    count, rounds = (200, 1) if given.quick else (given.commands, given.rounds)
    kept = LOOK if given.quick else KEPT
    chosen = given.parts or ["decode", "deliver"]
    if "decode" in chosen:
        measure_decode(rounds, kept)
    if "deliver" in chosen:
        asyncio.run(measure_deliver(count, rounds, kept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
