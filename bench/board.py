"""Measures the board over a real broker of its own, looked at by many.

    python -m bench.board [--rounds N] [--quick]

5,000 orders are open, then 300 events/s come (orders that start, are charged and ship, so that
5,000 stay open). In each round, in random order, no browser, one, and ten look at the first page
(``board_lookers``). Kept are the CPU time of the board's process as a share of one core, and the
delay from the broker's acknowledgement of an order's first event to its line in the list as it
reaches a browser. At the end the board is killed, and the time until it is complete again is taken.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.board_lookers import Looker, lookers
from bench.command import Options, Telling, options
from bench.data import Run
from devstack import free_port
from devstack.kafka import Kafka
from devstack.server import Home
from ingest.processes import Role

PART: Final = "board"
ROUNDS: Final = 3
SECONDS: Final = 15.0
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


async def measure(site: str, load: Load, role: Role, browsers: int, seconds: float) -> Run:
    """Return the board's share of a core and memory, the rate of events, and the delays in ms."""
    async with lookers(site, browsers, MARK) as opened:
        await asyncio.sleep(SETTLE_SECONDS)
        process = psutil.Process(role.pid)
        cpu, wall, sent = sum(process.cpu_times()[:2]), time.monotonic(), load.sent
        first = set(load.marked)
        await asyncio.sleep(seconds)
        passed = time.monotonic() - wall
        run = {
            "browsers": browsers,
            "cpu": (sum(process.cpu_times()[:2]) - cpu) / passed,
            "rate": (load.sent - sent) / passed,
            "memory": process.memory_info().rss,
        }
        marks = {name: at for name, at in load.marked.items() if name not in first}
        await asyncio.sleep(SETTLE_SECONDS)
        return run | (delays_of(opened[0], marks) if opened else {"delays": [], "unseen": 0})


def delays_of(looker: Looker, marks: dict[str, float]) -> Run:
    """Return how many ms after its acknowledgement each order stood in the list."""
    seen = [round((looker.seen[n] - at) * 1000, 1) for n, at in marks.items() if n in looker.seen]
    return {"delays": seen, "unseen": len(marks) - len(seen)}


async def complete(site: str) -> None:
    """Wait until the tables are complete."""
    async with httpx.AsyncClient(trust_env=False) as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(f"{site}/ready")).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.05)


async def bench(given: Options, directory: Path, telling: Telling) -> None:
    """Start broker and board, measure."""
    (directory / "logs").mkdir()
    say = telling.now("start")
    kafka = Kafka(Home(directory, (), persistent=False, say=say, died=say), free_port())
    await kafka.start()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.where, enable_idempotence=True)
    await producer.start()
    try:
        await create_topic(kafka.where)
        await run_rounds(kafka.where, Load(producer), given, directory, telling)
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
    bootstrap: str, load: Load, given: Options, directory: Path, telling: Telling
) -> None:
    """Measure every number of browsers once a round, then kill."""
    port = free_port()
    site = f"http://localhost:{port}"
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "EVENTS_TOPIC": TOPIC,
        "BOARD_PORT": str(port),
        "API_URL": f"http://localhost:{free_port()}",
    }
    role = Role("board", environment, directory / "board.log", telling.now("start"))
    await load.fill()
    await role.start()
    tasks: list[asyncio.Task[None]] = []
    try:
        await complete(site)
        tasks = [asyncio.create_task(load.run()), asyncio.create_task(load.mark())]
        for number in range(given.rounds):
            for browsers in random.sample(BROWSERS, len(BROWSERS)):
                telling.now(f"{browsers} browsers")
                run = await measure(site, load, role, browsers, 5.0 if given.quick else SECONDS)
                telling.keep({"round": number, **run}, line(run))
        seconds = await killed(role, site)
        telling.keep({"killed": seconds}, f"killed, complete again after {seconds:.1f} s")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await role.stop()


def line(run: Run) -> str:
    """Return what was measured in a line."""
    told = f"{run['browsers']:2} browsers: {run['rate']:.0f} events/s, {run['cpu']:.0%} of a core"
    if delays := run["delays"]:
        told += f", on the page after {statistics.median(delays):.0f} ms, at most {max(delays):.0f}"
    return told + (f", {run['unseen']} NEVER SEEN" if run["unseen"] else "")


async def killed(role: Role, site: str) -> float:
    """Kill the board; return how long it takes to be complete again, the load going on."""
    began = time.monotonic()
    os.kill(role.pid, signal.SIGKILL)
    await asyncio.sleep(0.2)
    await role.start()
    await complete(site)
    return time.monotonic() - began


def main() -> None:
    """Read the arguments and measure."""
    given = options(__doc__, PART, ROUNDS)
    with (
        tempfile.TemporaryDirectory(prefix="bench-board-") as directory,
        Telling(PART, given.rounds * len(BROWSERS) + 1, given.directory) as telling,
    ):
        asyncio.run(bench(given, Path(directory), telling))


if __name__ == "__main__":
    main()
