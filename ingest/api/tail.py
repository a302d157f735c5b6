"""Follows topics without a group: every process sees every record."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

RETRY_SECONDS: Final = 1.0
LOOK_BACK_SECONDS: Final = 600
BATCH: Final = 500
GATHER_SECONDS: Final = 0.05

Handle = Callable[[ConsumerRecord], None]
Positions = dict[TopicPartition, int]
Begin = Callable[[AIOKafkaConsumer], Awaitable[Positions]]
log = structlog.get_logger(__name__)


async def follow(bootstrap_servers: str, topic: str, begin: Begin, handle: Handle) -> None:
    """Hand every record of ``topic`` to ``handle``, from the positions that ``begin`` returns.

    Runs until cancelled. While Kafka is away it tries every second, and goes on where it was;
    ``handle`` may then see records again. Raises only what ``handle`` raises.
    """
    positions: Positions = {}
    while True:
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest"
        )
        try:
            await consumer.start()
            if not positions:
                positions |= await begin(consumer)
            for partition, offset in positions.items():
                consumer.seek(partition, offset)
            while True:
                await _read(consumer, positions, handle)
        except (KafkaError, OSError) as error:
            log.warning("waiting", server="Kafka", topic=topic, reason=repr(error))
        finally:
            await consumer.stop()
        await asyncio.sleep(RETRY_SECONDS)


async def _read(consumer: AIOKafkaConsumer, positions: Positions, handle: Handle) -> None:
    batches = await consumer.getmany(timeout_ms=1000, max_records=BATCH)
    for partition, records in batches.items():
        for record in records:
            handle(record)
        positions[partition] = records[-1].offset + 1
    # A backlog must not keep requests waiting; and of records that come one by one, each would
    # be a fetch of its own, which costs this process and the broker as much as a whole batch.
    await asyncio.sleep(GATHER_SECONDS if batches else 0)


async def end(consumer: AIOKafkaConsumer) -> Positions:
    """Return where the topic ends now."""
    return dict(await consumer.end_offsets(consumer.assignment()))


async def beginning(consumer: AIOKafkaConsumer) -> Positions:
    """Return where the topic begins."""
    return dict(await consumer.beginning_offsets(consumer.assignment()))


def unfinished(bootstrap_servers: str, group_id: str) -> Begin:
    """Begin at what ``group_id`` has not committed, and ten minutes ago in any case."""

    async def begin(consumer: AIOKafkaConsumer) -> Positions:
        positions = await end(consumer)
        since = int((time.time() - LOOK_BACK_SECONDS) * 1000)
        for partition, found in (
            await consumer.offsets_for_times(dict.fromkeys(positions, since))
        ).items():
            if found:
                positions[partition] = found.offset
        for partition, offset in (await _committed(bootstrap_servers, group_id)).items():
            if partition in positions:
                positions[partition] = min(positions[partition], offset)
        return positions

    return begin


async def _committed(bootstrap_servers: str, group_id: str) -> Positions:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        offsets = await admin.list_consumer_group_offsets(group_id)
    finally:
        await admin.close()
    return {tp: found.offset for tp, found in offsets.items() if found.offset >= 0}
