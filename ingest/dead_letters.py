"""Dead letters: records that can never become a command, kept verbatim with the reason.

A dead letter has key, value and headers of its record and stands on the partition of the same
number; readable ``dlt.*`` headers say where it came from and what was wrong. Its id is
``topic-partition-offset`` of the record's first place.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from domain.errors import Unavailable
from ingest.decode import (
    ORIGINAL_OFFSET,
    ORIGINAL_PARTITION,
    ORIGINAL_TOPIC,
    Record,
    original_place,
)

PREFIX: Final = "dlt."
ORIGINAL_TIMESTAMP: Final = "dlt.original.timestamp"
ERROR_CLASS: Final = "dlt.error.class"
ERROR_MESSAGE: Final = "dlt.error.message"
ATTEMPTS: Final = "dlt.attempts"
MESSAGE_CHARACTERS_MAX: Final = 2_000
UNCOMPRESSED_BYTES_MAX: Final = 1 << 30
"""A topic limits what a record has compressed: one of many MiB comes in, and has to go out."""

Headers = list[tuple[str, bytes]]


class TimedRecord(Record, Protocol):
    """A record with the time (milliseconds since 1970) at which it was written."""

    timestamp: int


def make_producer(bootstrap_servers: str) -> AIOKafkaProducer:
    """Return a producer, not started, that acknowledges only what all replicas have.

    Not idempotent: a refused batch leaves a hole in the sequence numbers of a partition, for
    which aiokafka's producer is refused there for good. What is written twice, since the answer
    to the first was lost, has the same id.
    """
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        acks="all",
        compression_type="zstd",
        max_request_size=UNCOMPRESSED_BYTES_MAX,
    )


class DeadLetters:
    """Writes dead letters to ``topic``."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def bury(self, record: TimedRecord, error: Exception) -> None:
        """Write the dead letter of a record; returns after all replicas acknowledged it.

        Died before that, the record's offset is not committed and it is read again. Raises
        ``Unavailable`` when Kafka does not take it: try again.
        """
        headers = verbatim(record.headers) + _story(record, error)
        try:
            await send_copy(self._producer, self._topic, record, record.partition, headers)
        except KafkaError as problem:
            raise Unavailable(f"no dead letter for {place(record)}: {problem!r}") from problem


async def send_copy(
    producer: AIOKafkaProducer, topic: str, record: Record, partition: int, headers: Headers
) -> None:
    """Write a record's key and value with ``headers``; returns when it is acknowledged.

    It goes to the partition of that number while the topic has one. Raises ``KafkaError``.
    """
    partition %= len(await producer.partitions_for(topic))
    if record.key is None and record.value is None:
        # Kafka takes such records, aiokafka refuses to send them: an AssertionError in send().
        batch = producer.create_batch()
        batch.append(timestamp=None, key=None, value=None, headers=headers)
        await (await producer.send_batch(batch, topic, partition=partition))
    else:
        await producer.send_and_wait(topic, record.value, record.key, partition, headers=headers)


def verbatim(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    """Return the headers a record had before it became a dead letter."""
    # aiokafka types a header's value as bytes and writes None as well: null is what it was.
    return [(k, v) for k, v in headers if not k.startswith(PREFIX)]  # type: ignore[misc]


def place(record: Record) -> str:
    """Return ``topic[partition]@offset`` for people."""
    return f"{record.topic}[{record.partition}]@{record.offset}"


def attempts(headers: Sequence[tuple[str, bytes | None]]) -> int:
    """Return how often a record failed already; 0 when it says nothing readable."""
    value = dict(headers).get(ATTEMPTS) or b""
    return int(value) if value.isdigit() and len(value) < 10 else 0


def _story(record: TimedRecord, error: Exception) -> Headers:
    topic, partition, offset = original_place(record)
    replayed = (topic, partition, offset) != (record.topic, record.partition, record.offset)
    written = dict(record.headers).get(ORIGINAL_TIMESTAMP) if replayed else None
    texts = {
        ORIGINAL_TOPIC: topic,
        ORIGINAL_PARTITION: str(partition),
        ORIGINAL_OFFSET: str(offset),
        ERROR_CLASS: type(error).__name__,
        ERROR_MESSAGE: str(error)[:MESSAGE_CHARACTERS_MAX],
        ATTEMPTS: str(attempts(record.headers) + 1),
    }
    timestamp = written or _readable(record.timestamp).encode()
    story = [(name, text.encode("utf-8", "replace")) for name, text in texts.items()]
    return [*story, (ORIGINAL_TIMESTAMP, timestamp)]


def _readable(milliseconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # producers may write any number
        return str(milliseconds)
    return moment.isoformat(timespec="milliseconds")
