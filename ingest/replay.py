"""``orders dead-letters``: list them, look at one, send some again."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from domain.errors import OrderError, Unavailable
from domain.model import COMMAND_ID_MAX, is_id
from ingest.client.program import print_json
from ingest.dead_letters import (
    ATTEMPTS,
    ERROR_CLASS,
    ERROR_MESSAGE,
    ORIGINAL_TIMESTAMP,
    Headers,
    attempts,
    make_producer,
    send_copy,
    verbatim,
)
from ingest.decode import (
    ORIGINAL_OFFSET,
    ORIGINAL_PARTITION,
    ORIGINAL_TOPIC,
    Record,
    original_place,
)
from ingest.header_keys import tolerate_any_header_key
from ingest.settings import Settings

VALUE_SHOWN: Final = 4_000
SILENCE_SECONDS: Final = 10.0
IDENTITY: Final = (
    ORIGINAL_TOPIC,
    ORIGINAL_PARTITION,
    ORIGINAL_OFFSET,
    ORIGINAL_TIMESTAMP,
    ATTEMPTS,
)
"""The headers with which a replayed record keeps its id, its time, and its count of attempts."""


class NotFound(OrderError):
    """There is no dead letter of this id."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter; of several about one record the newest."""

    id: str
    partition: int
    record: ConsumerRecord[bytes, bytes]

    def header(self, name: str) -> str:
        """Return a header as text; empty when there is none."""
        return (dict(self.record.headers).get(name) or b"").decode("utf-8", "replace")

    @property
    def command_id(self) -> str:
        """The id under which the API knows it: the record's own where it can be read."""
        try:
            document = json.loads(self.record.value or b"")
        except (ValueError, RecursionError):
            return self.id
        found = document.get("command_id") if isinstance(document, dict) else None
        return found if isinstance(found, str) and is_id(found, COMMAND_ID_MAX) else self.id

    def document(self, shown: int | None = None) -> dict[str, Any]:
        """Return it as JSON, of its key and of its value ``shown`` characters at most."""
        key, value = _text(self.record.key), _text(self.record.value)
        return {
            "id": self.id,
            "command_id": self.command_id,
            "written": self.header(ORIGINAL_TIMESTAMP),
            "attempts": attempts(self.record.headers),
            "error_class": self.header(ERROR_CLASS),
            "error": self.header(ERROR_MESSAGE),
            "key": key and key[:shown],
            "value": value and value[:shown],
        }


async def read_all(settings: Settings) -> dict[str, DeadLetter]:
    """Return every dead letter by id, oldest first, as the topic stands now.

    Raises ``Unavailable`` when Kafka does not answer for ``SILENCE_SECONDS``, ``NotFound`` when
    there is no topic.
    """
    found: dict[str, DeadLetter] = {}
    clock = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(SILENCE_SECONDS) as silence, _reader(settings) as consumer:
            async for record in _records(consumer):
                silence.reschedule(clock() + SILENCE_SECONDS)
                topic, partition, offset = original_place(record)
                letter = DeadLetter(f"{topic}-{partition}-{offset}", partition, record)
                found.pop(letter.id, None)
                found[letter.id] = letter
    except (KafkaError, TimeoutError) as error:
        raise _no_answer(error) from error
    return dict(sorted(found.items(), key=lambda item: item[1].record.timestamp))


async def list_all(settings: Settings, *, as_json: bool) -> None:
    """Print a line for each dead letter, or one JSON document."""
    letters = await read_all(settings)
    if as_json:
        print_json({"dead_letters": [letter.document() for letter in letters.values()]})
        return
    for letter in letters.values():
        written = letter.header(ORIGINAL_TIMESTAMP)
        times = attempts(letter.record.headers)
        again = f" ({times} attempts)" if times > 1 else ""
        print(f"{letter.id}  {written}{again}  {letter.header(ERROR_MESSAGE)}")
    print(f"{len(letters)} dead letter{'' if len(letters) == 1 else 's'}.", file=sys.stderr)


async def show(settings: Settings, letter_id: str, *, as_json: bool) -> None:
    """Print one dead letter whole: reason, place, key, headers, value."""
    (letter,) = _chosen(await read_all(settings), [letter_id])
    record = letter.record
    if as_json:
        headers = {name: _text(content) for name, content in verbatim(record.headers)}
        print_json(letter.document() | {"headers": headers})
        return
    value = record.value
    print(f"id:       {letter.id}")
    print(f"written:  {letter.header(ORIGINAL_TIMESTAMP)}")
    print(f"attempts: {attempts(record.headers)}")
    print(f"error:    {letter.header(ERROR_CLASS)}: {letter.header(ERROR_MESSAGE)}")
    print(f"key:      {_readable(record.key)}")
    for name, content in verbatim(record.headers):
        print(f"header:   {name}={_readable(content)}")
    print(f"value:    {'none' if value is None else f'{len(value)} bytes'}")
    if value:
        print(_readable(value[:VALUE_SHOWN]))
        if len(value) > VALUE_SHOWN:
            print(f"... and {len(value) - VALUE_SHOWN} bytes more")


async def replay(settings: Settings, ids: Iterable[str], *, everything: bool) -> None:
    """Send dead letters again as commands, on their first partition and with their first id.

    Repeating it is safe: a command that took effect is known by its id. What is wrong still
    comes back as a dead letter of the same id, with one more attempt.
    """
    letters = await read_all(settings)
    chosen = list(letters.values()) if everything else _chosen(letters, ids)
    await send_again(settings, chosen, lambda letter: print(f"{letter.id} sent again"))
    print(f"{len(chosen)} sent again.", file=sys.stderr)


async def send_again(
    settings: Settings, letters: Iterable[DeadLetter], tell: Callable[[DeadLetter], None]
) -> None:
    """Put dead letters on the topic of commands; ``tell`` is called for each that is there.

    Raises ``Unavailable`` when Kafka does not take one.
    """
    async with AsyncExitStack() as stack:
        producer = make_producer(settings.kafka_bootstrap_servers)
        stack.push_async_callback(producer.stop)
        await _asking_kafka(producer.start)
        for letter in letters:
            await _send(producer, settings.commands_topic, letter)
            tell(letter)


async def _send(producer: AIOKafkaProducer, topic: str, letter: DeadLetter) -> None:
    record, headers = letter.record, headers_again(letter.record)
    await _asking_kafka(lambda: send_copy(producer, topic, record, letter.partition, headers))


def headers_again(record: Record) -> Headers:
    """Return the headers with which a dead letter is sent again: its own, and its identity.

    A record that something else put on the topic has none: the place where it stands is its id,
    so that it, too, is the same command however often it is sent.
    """
    kept = {name: text for name, text in record.headers if name in IDENTITY and text is not None}
    names = (ORIGINAL_TOPIC, ORIGINAL_PARTITION, ORIGINAL_OFFSET)
    places = (str(part).encode() for part in original_place(record))
    return verbatim(record.headers) + list((kept | dict(zip(names, places, strict=True))).items())


def _chosen(letters: dict[str, DeadLetter], ids: Iterable[str]) -> list[DeadLetter]:
    chosen = list(dict.fromkeys(ids))
    if unknown := [letter_id for letter_id in chosen if letter_id not in letters]:
        raise NotFound(f"no dead letter {', '.join(unknown)}: see `orders dead-letters list`")
    return [letters[letter_id] for letter_id in chosen]


@asynccontextmanager
async def _reader(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    tolerate_any_header_key()
    consumer = AIOKafkaConsumer(
        settings.dead_letter_topic,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=None,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        if not consumer.partitions_for_topic(settings.dead_letter_topic):
            raise NotFound(
                f"topic {settings.dead_letter_topic} does not exist: run `orders topics`"
            )
        yield consumer
    finally:
        await consumer.stop()


async def _records(consumer: AIOKafkaConsumer) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Yield what stands on the topic now; without a group all partitions are the consumer's."""
    ends = await consumer.end_offsets(consumer.assignment())
    unread = {place for place, end in ends.items() if await consumer.position(place) < end}
    while unread:
        batches = await consumer.getmany(timeout_ms=500)
        for records in batches.values():
            for record in records:
                yield record
        unread = {place for place in unread if await consumer.position(place) < ends[place]}


async def _asking_kafka(call: Callable[[], Awaitable[object]]) -> None:
    try:
        await call()
    except KafkaError as error:
        raise _no_answer(error) from error


def _no_answer(error: Exception) -> Unavailable:
    return Unavailable(
        f"Kafka does not answer ({error!r}): is it running, is KAFKA_BOOTSTRAP_SERVERS right?"
    )


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "backslashreplace")


def _readable(content: bytes | None) -> str:
    if content is None:
        return "none"
    text = _text(content) or ""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
