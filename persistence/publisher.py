"""Sends one shard's rows to Kafka, in order, as the only producer whom the broker still hears.

Fencing. A relay that froze after reading its rows and wakes when another one has taken over
must not publish old events behind newer ones; no check before sending can rule that out. So
each shard has a transactional id, used for its epoch alone: starting a producer with it makes
the coordinator raise the epoch, and from the first batch that the new producer writes to a
partition that partition's leader refuses every batch of an older epoch. What the frozen one
still gets in before that batch are rows that nobody has overtaken: the new owner read the same
rows and repeats them. Records go out outside of transactions, so that this costs no marker, no
extra round trip and no delay.

How far it goes. The coordinator forgets a transactional id a week after its last start
(``transactional.id.expiration.ms``), and a successor then gets another producer id, which shuts
out nobody; hence a producer is replaced once a day. A partition's leader forgets the newer epoch
once nothing was written there for a day (``producer.id.expiration.ms``): only a relay frozen for
more than that could still repeat old events, which consumers skip by their sequence.

Source: Kafka's producer id and epoch (KIP-98, KIP-360); tests/integration/persistence has the
proof on a real broker.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Final, Self

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

from persistence.cloudevents import headers

BATCH_BYTES: Final = 256 * 1024
REQUEST_MS: Final = 10_000
RENEW_SECONDS: Final = 24 * 3600.0

_hash = lru_cache(maxsize=65_536)(murmur2)


@dataclass(slots=True)
class Sent:
    """``acknowledged``: outbox ids, per partition all that stand before the first refusal.

    ``refused``: of each partition that stopped, the error and the ids of the refused batch.
    """

    acknowledged: list[int] = field(default_factory=list)
    refused: list[tuple[KafkaError, list[int]]] = field(default_factory=list)


class Publisher:
    """The producer of one shard.

    ``spent`` after a refusal, because its sequence numbers have a hole then, and after a day:
    stop it and start another. ``waiting`` while the broker has not answered.
    ``batch_bytes``: how large its batches are, or how large those of the next one should be.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str, batch_bytes: int) -> None:
        self._producer = producer
        self._topic = topic
        self._ends_at = time.monotonic() + RENEW_SECONDS
        self._refused = False
        self.waiting = False
        self.batch_bytes = batch_bytes

    @property
    def spent(self) -> bool:
        """Whether another producer has to take its place."""
        return self._refused or time.monotonic() >= self._ends_at

    @classmethod
    async def start(
        cls, bootstrap: str, topic: str, shard: int, batch_bytes: int = BATCH_BYTES
    ) -> Self:
        """Connect, and shut out every producer that was started for this shard before.

        Call it only while holding the shard's lock, and read the rows afterwards. Raises
        ``KafkaError`` when the broker does not answer or has no such topic.
        """
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            client_id=f"orders-relay-{shard}",
            transactional_id=f"{topic}-relay-{shard}",
            max_batch_size=batch_bytes,
            request_timeout_ms=REQUEST_MS,
        )
        publisher = cls(producer, topic, batch_bytes)
        try:
            await producer.start()
            # Keeps id and epoch, and sends plain idempotent batches from here on.
            producer._txn_manager.transactional_id = None  # noqa: SLF001
            await producer.partitions_for(topic)
        except AssertionError as error:
            # aiokafka 0.14 asserts that it knows a broker that is not in its pause after a
            # failed connection; a broker that froze after the bootstrap is such a one.
            await publisher.stop()
            raise KafkaConnectionError(f"lost the broker during the start: {error}") from error
        except BaseException:
            await publisher.stop()
            raise
        return publisher

    async def send(self, rows: Sequence[asyncpg.Record]) -> Sent:
        """Send rows in their order and wait for the broker; a partition stops at a refusal.

        While the broker is away this waits, however long. Rows of one key go to one partition,
        and a batch is sent only when the one before it is acknowledged.
        """
        self.waiting = True
        partitions = sorted(await self._producer.partitions_for(self._topic))
        if not partitions:
            raise UnknownTopicOrPartitionError(f"topic {self._topic} has no partitions")
        of_partition: dict[int, list[asyncpg.Record]] = defaultdict(list)
        for row in rows:
            hashed = _hash(row["aggregateid"].encode()) & 0x7FFFFFFF
            of_partition[partitions[hashed % len(partitions)]].append(row)
        sent = Sent()
        await asyncio.gather(
            *(self._send_to(partition, rows, sent) for partition, rows in of_partition.items())
        )
        self.waiting = False
        return sent

    async def _send_to(self, partition: int, rows: list[asyncpg.Record], sent: Sent) -> None:
        start = 0
        while start < len(rows):
            batch, end = self._fill(rows, start)
            ids = [row["id"] for row in rows[start:end]]
            try:
                await (await self._producer.send_batch(batch, self._topic, partition=partition))
            except KafkaError as error:
                self._refused = True
                sent.refused.append((error, ids))
                return
            sent.acknowledged.extend(ids)
            start = end

    def _fill(self, rows: list[asyncpg.Record], start: int) -> tuple[BatchBuilder, int]:
        """Return a batch and the index of the first row that is not in it."""
        batch = self._producer.create_batch()
        end = start
        while end < len(rows) and batch.append(
            timestamp=int(rows[end]["at"].timestamp() * 1000),
            key=rows[end]["aggregateid"].encode(),
            value=rows[end]["payload"].encode(),
            headers=headers(rows[end]),
        ):
            end += 1
        return batch, end

    async def stop(self) -> None:
        """Close, giving up whatever is not acknowledged: none of it is sent any more.

        A cancellation is raised only then: a producer that is left half closed goes on sending.
        """
        closing = asyncio.create_task(self._close())
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.wait({closing})
            except asyncio.CancelledError as error:
                cancelled = error
        closing.result()
        if cancelled:
            raise cancelled

    async def _close(self) -> None:
        """Close the producer for certain.

        aiokafka's own ``stop`` waits for the broker without limit, so its sender is ended first.
        The sender answers a cancellation by waiting for the request under way, which may wait
        for metadata that never comes; each further cancellation ends what it waits for.
        """
        accumulator = self._producer._message_accumulator  # noqa: SLF001
        for batch in (*chain(*accumulator._batches.values()), *accumulator._pending_batches):  # noqa: SLF001
            batch.future.add_done_callback(_retrieve)  # whoever awaited it may be gone
        sending = self._producer._sender.sender_task  # noqa: SLF001
        while sending is not None and not sending.done():
            sending.cancel()
            await asyncio.wait({sending}, timeout=0.1)
        accumulator.fail_all(KafkaError("given up"))
        await self._producer.stop()


def _retrieve(future: asyncio.Future[object]) -> None:
    if not future.cancelled():
        future.exception()
