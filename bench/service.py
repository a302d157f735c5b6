"""The whole service on this machine, with a driver that starts orders and sees them end."""

import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.meter import Meter
from devstack import Ports
from ingest.local import CORE, LocalService, local_service

ADDRESS: Final = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
ENDS: Final = frozenset(
    f"order.{state}".encode() for state in ("shipped", "rejected", "cancelled", "failed")
)
DEAR: Final = {
    "items": [{"sku": "GOLD", "quantity": 1, "unit_price": 90_000}],
    "currency": "USD",
}
"""Above what is shipped without asking a person."""
_PARTNERS: Final = "select pid from pg_stat_activity where application_name = 'partners'"

Say = Callable[[str], None]


@dataclass
class Service:
    """A running service; ``received`` are the orders under way or ended, ``ended`` has the
    time (monotonic) at which each order's end arrived."""

    local: LocalService
    db: asyncpg.Connection
    received: list[str] = field(default_factory=list)
    ended: dict[str, float] = field(default_factory=dict)
    _waiting: dict[str, asyncio.Event] = field(default_factory=dict)
    _producer: Any = None

    async def send(self, order_id: str, **more: Any) -> None:  # noqa: ANN401 - fields of a command
        """Put a start command on the topic; returns when the broker has it."""
        command = {"type": "start", "order_id": order_id, "initial_address": ADDRESS, **more}
        value = json.dumps(command).encode()
        topic = self.local.settings.commands_topic
        await (await self._producer.send(topic, value, order_id.encode()))

    async def order(self, order_id: str) -> None:
        """Start an order and wait until its last event has arrived."""
        await self.send(order_id)
        await self.end_of(order_id)

    async def end_of(self, order_id: str) -> None:
        """Wait until the order's last event has arrived."""
        if order_id not in self.ended:
            await self._waiting.setdefault(order_id, asyncio.Event()).wait()
            del self._waiting[order_id]

    async def meter(self, **more: int) -> Meter:
        """Return a meter of all parts; the simulated partners' share of PostgreSQL apart.

        ``more``: other processes that belong to the measurement.
        """
        stack = self.local.stack
        partners = [row["pid"] for row in await self.db.fetch(_PARTNERS)]
        pids = {
            "Temporal server": stack.temporal.pid,
            "PostgreSQL": stack.postgres.pid,
            "Kafka": stack.kafka.pid,
            **{role.name: role.pid for role in self.local.roles.values()},
            **more,
        }
        return Meter(pids, lambda: {"partners' books": ("PostgreSQL", partners)})

    async def watch(self, consumer: AIOKafkaConsumer) -> None:
        """Take note of orders that end."""
        async for record in consumer:
            kinds = [value for name, value in record.headers if name == "ce_type"]
            order_id = record.key.decode()
            if kinds[0] == b"order.received":
                self.received.append(order_id)
            if kinds[0] in ENDS:
                self.ended[order_id] = time.monotonic()
                if waiting := self._waiting.get(order_id):
                    waiting.set()


@contextlib.asynccontextmanager
async def running_service(
    say: Say,
    environment: Mapping[str, str] | None = None,
    names: Sequence[str] = CORE,
) -> AsyncIterator[Service]:
    """Run the service as ``make up`` does, on free ports, with data that goes with the block."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        # PostgreSQL may run as another user.
        os.chmod(name, 0o711)  # noqa: PTH101, S103 - nobody else can list it
        settings = {"LOG_FORMAT": "json", **(environment or {})}
        async with (
            local_service(
                directory / "stack", Ports.free(), say, settings, names, persistent=True
            ) as local,
            _driven(local) as service,
        ):
            yield service


@contextlib.asynccontextmanager
async def _driven(local: LocalService) -> AsyncIterator[Service]:
    servers = local.settings.kafka_bootstrap_servers
    db = await asyncpg.connect(local.settings.db_url)
    producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True)
    consumer = AIOKafkaConsumer(
        local.settings.events_topic, bootstrap_servers=servers, auto_offset_reset="earliest"
    )
    service = Service(local, db, _producer=producer)
    await producer.start()
    await consumer.start()
    watching = asyncio.create_task(service.watch(consumer))
    try:
        yield service
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await consumer.stop()
        await producer.stop()
        await db.close()
