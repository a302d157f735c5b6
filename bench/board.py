"""Measures the board over a real broker of its own, looked at by many.

    python -m bench.board [--rounds N] [--seconds N]

5,000 orders are open, then 300 events/s come (orders that start, are charged and ship, so that
5,000 stay open). In each round, in random order, no browser, one, and ten look at the first page
(``board_lookers``). Told are, as medians over the rounds, the CPU time of the board's process as
a share of one core, and the delay from the broker's acknowledgement of an order's first event to
its line in the list as it reaches a browser. At the end
the board is killed, and the time until it is complete again is taken.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.board_lookers import Looker, lookers
from devstack import free_port
from devstack.kafka import Kafka
from devstack.server import Home
from ingest.processes import Role

TOPIC: Final = "orders.events"
OPEN_ORDERS: Final = 5_000
EVENTS_A_SECOND: Final = 300
BROWSERS: Final = (0, 1, 10)
SETTLE_SECONDS: Final = 5
MARK: Final = "MARK"
STORY: Final = ("received", "validated", "payment_charged", "shipped")
STATES: Final = {"payment_charged": "charged", "review_requested": "in_review"}
MONEY: Final = {"amount": 1999, "currency": "USD"}
ADDRESS: Final = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
ITEMS: Final = [{"sku": "TEA", "quantity": 1, "unit_price": 1999}]


def event(order_id: str, sequence: int, kind: str) -> bytes:
    """Return the value of one event that happens now."""
    at = datetime.now(UTC)
    data: dict[str, dict[str, Any]] = {
        "received": {
            "address": ADDRESS,
            "deadline": (at + timedelta(seconds=15)).isoformat(),
        },
        "validated": {"items": ITEMS, **MONEY},
        "review_requested": {
            "reason": "amount",
            "decide_by": (at + timedelta(hours=1)).isoformat(),
            **MONEY,
        },
        "payment_charged": {"payment_id": f"{order_id}:charge", **MONEY},
        "shipped": {"tracking_number": "T"},
    }
    envelope = {
        "type": f"order.{kind}",
        "order_id": order_id,
        "sequence": sequence,
        "at": at.isoformat(),
        "state": STATES.get(kind, kind),
        "data": data[kind],
    }
    return json.dumps(envelope).encode()


class Load:
    """Publishes events at a steady rate for as long as it runs; counts what it sent."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.sent = 0
        self.marked: dict[str, float] = {}
        self._producer = producer
        self._orders = 0
        self._marks = 0

    async def fill(self) -> None:
        """Open the orders that stay open: they wait for a reviewer."""
        sent = [
            await self._producer.send(TOPIC, event(order_id, number, kind), order_id.encode())
            for order_id in (f"O-{n}" for n in range(OPEN_ORDERS))
            for number, kind in enumerate(("received", "validated", "review_requested"), 1)
        ]
        await asyncio.gather(*sent)

    async def run(self) -> None:
        """Send the next events of many stories until cancelled."""
        began, sent = time.monotonic(), 0
        waiting: list[tuple[str, int]] = []
        while True:
            due = int((time.monotonic() - began) * EVENTS_A_SECOND) - sent
            for _ in range(due):
                if len(waiting) < EVENTS_A_SECOND:  # a story takes some four seconds
                    self._orders += 1
                    waiting.append((f"L-{os.getpid()}-{self._orders}", 0))
                order_id, step = waiting.pop(0)
                value = event(order_id, step + 1, STORY[step])
                await self._producer.send(TOPIC, value, order_id.encode())
                if step + 1 < len(STORY):
                    waiting.append((order_id, step + 1))
            sent += due
            self.sent += due
            await asyncio.sleep(0.01)

    async def mark(self) -> None:
        """Start an order now and then that the measuring browser waits for."""
        while True:
            self._marks += 1
            order_id = f"{MARK}-{self._marks}"
            value = event(order_id, 1, "received")
            await self._producer.send_and_wait(TOPIC, value, order_id.encode())
            self.marked[order_id] = time.time()
            await asyncio.sleep(random.uniform(0.5, 1.0))


@dataclass
class Figures:
    """What was measured with one number of browsers, an entry for each round."""

    cpu: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)


async def measure(
    site: str, load: Load, role: Role, browsers: int, seconds: float
) -> tuple[float, float, list[float]]:
    """Return the board's share of a core, the rate of events, and the delays in ms."""
    async with lookers(site, browsers, MARK) as opened:
        await asyncio.sleep(SETTLE_SECONDS)
        process = psutil.Process(role.pid)
        cpu, wall, sent = sum(process.cpu_times()[:2]), time.monotonic(), load.sent
        first = set(load.marked)
        await asyncio.sleep(seconds)
        passed = time.monotonic() - wall
        share = (sum(process.cpu_times()[:2]) - cpu) / passed
        rate = (load.sent - sent) / passed
        marks = {name: at for name, at in load.marked.items() if name not in first}
        await asyncio.sleep(SETTLE_SECONDS)
        return share, rate, delays_of(opened[0], marks) if opened else []


def delays_of(looker: Looker, marks: dict[str, float]) -> list[float]:
    """Return how many ms after its acknowledgement each order stood in the list."""
    missing = [name for name in marks if name not in looker.seen]
    if missing:
        print(f"  not seen on the page: {missing}", file=sys.stderr)
    return [(looker.seen[name] - at) * 1000 for name, at in marks.items() if name in looker.seen]


async def complete(site: str) -> None:
    """Wait until the tables are complete."""
    async with httpx.AsyncClient(trust_env=False) as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(f"{site}/ready")).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.05)


async def bench(rounds: int, seconds: float, directory: Path) -> None:
    """Start broker and board, measure, print."""
    (directory / "logs").mkdir()
    kafka = Kafka(Home(directory, (), persistent=False, say=print, died=print), free_port())
    await kafka.start()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.where, enable_idempotence=True)
    await producer.start()
    try:
        await create_topic(kafka.where)
        await run_rounds(kafka.where, Load(producer), rounds, seconds, directory)
    finally:
        await producer.stop()
        await kafka.stop()


async def create_topic(bootstrap: str) -> None:
    """Make the events topic with the service's four partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, 4, 1)])
    finally:
        await admin.close()
    await asyncio.sleep(1)  # until the partitions have their leaders


async def run_rounds(
    bootstrap: str, load: Load, rounds: int, seconds: float, directory: Path
) -> None:
    """Measure every number of browsers once a round."""
    port = free_port()
    site = f"http://localhost:{port}"
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "EVENTS_TOPIC": TOPIC,
        "BOARD_PORT": str(port),
        "API_URL": f"http://localhost:{free_port()}",
    }
    role = Role("board", environment, directory / "board.log", print)
    await load.fill()
    await role.start()
    tasks: list[asyncio.Task[None]] = []
    try:
        await complete(site)
        tasks = [asyncio.create_task(load.run()), asyncio.create_task(load.mark())]
        found = {browsers: Figures() for browsers in BROWSERS}
        for number in range(rounds):
            for browsers in random.sample(BROWSERS, len(BROWSERS)):
                figures = found[browsers]
                cpu, rate, delays = await measure(site, load, role, browsers, seconds)
                figures.cpu.append(cpu)
                figures.rate.append(rate)
                figures.delays += delays
                print(f"round {number + 1}, {browsers} browsers: {cpu:.0%} of a core")
        tell(found, psutil.Process(role.pid).memory_info().rss)
        await kill_and_wait(role, site)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await role.stop()


def tell(found: dict[int, Figures], memory: int) -> None:
    """Print the medians."""
    for browsers, figures in found.items():
        line = (
            f"{browsers:2} browsers: {statistics.median(figures.rate):.0f} events/s, "
            f"{statistics.median(figures.cpu):.0%} of a core "
            f"({min(figures.cpu):.0%} to {max(figures.cpu):.0%})"
        )
        if figures.delays:
            delays = sorted(figures.delays)
            line += (
                f", on the page after {statistics.median(delays):.0f} ms (median), "
                f"{delays[int(len(delays) * 0.95)]:.0f} ms (p95), {delays[-1]:.0f} ms (most), "
                f"{len(delays)} orders"
            )
        print(line)
    print(f"memory: {memory / 2**20:.0f} MiB")


async def kill_and_wait(role: Role, site: str) -> None:
    """Kill the board and print how long it takes to be complete again, the load going on."""
    began = time.monotonic()
    os.kill(role.pid, signal.SIGKILL)
    await asyncio.sleep(0.2)
    await role.start()
    await complete(site)
    print(f"killed and complete again after {time.monotonic() - began:.1f} s, the load going on")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-board-") as directory:
        asyncio.run(bench(arguments.rounds, arguments.seconds, Path(directory)))


if __name__ == "__main__":
    main()
