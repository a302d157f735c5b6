"""Roles inside the test's own process, and what a test asks about commands."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from ingest import replay, roles
from ingest.settings import Settings
from ingest.topics import COMMAND_BYTES_MAX
from persistence.queries import Outcome, history, outcomes_of
from tests.support.waiting import until

Logs = list[MutableMapping[str, Any]]

ADDRESS = {"street": "1 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
READY_SECONDS = 60
END_SECONDS = 60


def start(order_id: str, **more: object) -> dict[str, Any]:
    """A start; without ``items`` the simulated partner names some worth less than a review."""
    return {"type": "start", "order_id": order_id, "initial_address": ADDRESS, **more}


def cancel(order_id: str, **more: object) -> dict[str, Any]:
    return {
        "type": "cancel", "order_id": order_id, "reason": "test", "cancelled_by": "test", **more
    }  # fmt: skip


def update_address(order_id: str, zip_code: str, **more: object) -> dict[str, Any]:
    address = {**ADDRESS, "zip": zip_code}
    return {
        "type": "update-address", "order_id": order_id, "new_address": address,
        "updated_by": "test", **more,
    }  # fmt: skip


def approve(order_id: str, **more: object) -> dict[str, Any]:
    return {"type": "approve", "order_id": order_id, "reviewed_by": "test", **more}


async def said(logs: Logs, event: str, server: str) -> Logs:
    """Return what was logged of a server under this name."""
    return [entry for entry in logs if entry["event"] == event and entry["server"] == server]


@contextlib.asynccontextmanager
async def running(settings: Settings, *names: str) -> AsyncIterator[None]:
    """Run roles as tasks; the block begins when all are ready, and its end stops them."""
    stop = asyncio.Event()
    readies = [asyncio.Event() for _ in names]
    tasks = [
        asyncio.create_task(getattr(roles, name)(settings, stop, ready.set), name=name)
        for name, ready in zip(names, readies, strict=True)
    ]
    ready = asyncio.create_task(_all(readies))
    try:
        await asyncio.wait(
            [ready, *tasks], timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if not ready.done():
            raise AssertionError(f"not ready after {READY_SECONDS} s, or broken: {tasks}")
        yield
    finally:
        ready.cancel()
        stop.set()
        async with asyncio.timeout(END_SECONDS):
            await asyncio.gather(*tasks)


async def _all(events: list[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


@dataclass(frozen=True)
class Commands:
    """Writes commands and finds out what became of them."""

    settings: Settings
    producer: AIOKafkaProducer
    offsets: AIOKafkaConsumer
    db: asyncpg.Pool

    async def send(self, *commands: dict[str, Any], partition: int | None = None) -> list[str]:
        """Write commands keyed by order id; return their ids, given or by their place."""
        sent = [
            await self.producer.send(
                self.settings.commands_topic,
                key=command["order_id"].encode(),
                value=json.dumps(command).encode(),
                partition=partition,
            )
            for command in commands
        ]
        places = await asyncio.gather(*sent)
        return [
            command.get("command_id", f"{place.topic}-{place.partition}-{place.offset}")
            for command, place in zip(commands, places, strict=True)
        ]

    async def send_raw(
        self,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = 0,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> str:
        """Write any record; return the id that its place gives it."""
        batch = self.producer.create_batch()  # takes what send() refuses: neither key nor value
        batch.append(timestamp=None, key=key, value=value, headers=list(headers))
        batch.close()
        topic = self.settings.commands_topic
        place = await (await self.producer.send_batch(batch, topic, partition=partition))
        return f"{place.topic}-{place.partition}-{place.offset}"

    async def outcome(self, command_id: str, patience: float = 60) -> Outcome:
        """Wait for the one event that a command caused."""

        async def found() -> list[Outcome]:
            return await outcomes_of(self.db, [command_id])

        (only,) = await until(found, patience=patience)
        return only

    async def each_has_one_outcome(self, sent: list[str]) -> None:
        """Wait until every one of these commands has caused its event."""

        async def all_are_there() -> bool:
            return len(await outcomes_of(self.db, sent)) == len(sent)

        await until(all_are_there, patience=180)

    async def story(self, order_id: str, last: str) -> list[str]:
        """Wait until the newest event of an order is of type ``last``; return all types."""

        async def types() -> list[str]:
            found: list[str] = [event.type for event in await history(self.db, order_id)]
            return found if found and found[-1] == last else []

        return await until(types)

    async def dead_letters(self) -> dict[str, replay.DeadLetter]:
        return await replay.read_all(self.settings)

    async def lag(self) -> int:
        """Count the records that are written and not committed by the group."""
        topic = self.settings.commands_topic
        places = [TopicPartition(topic, n) for n in await self.producer.partitions_for(topic)]
        self.offsets.assign(places)
        ends = await self.offsets.end_offsets(places)
        return sum([ends[tp] - (await self.offsets.committed(tp) or 0) for tp in places])

    async def all_committed(self, patience: float = 120) -> None:
        """Wait until the group has committed the end of every partition."""

        async def done() -> bool:
            return await self.lag() == 0

        await until(done, patience=patience)


@contextlib.asynccontextmanager
async def commanding(settings: Settings, db: asyncpg.Pool) -> AsyncIterator[Commands]:
    """Connect to what ``Commands`` needs."""
    servers = settings.kafka_bootstrap_servers
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, enable_idempotence=True, max_request_size=COMMAND_BYTES_MAX
    )
    offsets = AIOKafkaConsumer(
        bootstrap_servers=servers, group_id=settings.kafka_group_id, enable_auto_commit=False
    )
    try:
        await producer.start()
        await offsets.start()
        yield Commands(settings, producer, offsets, db)
    finally:
        await offsets.stop()
        await producer.stop()
