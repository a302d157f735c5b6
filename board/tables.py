"""The Faust app: one table, kept from the events topic, backed by its changelog in Kafka.

What holds when it dies on any line: the changelog has the writes of each partition in their
order, up to some point. The next start takes up those rows and reads the events from the
position they tell (see ``board.fold``). Committed offsets play no part: Faust commits one while
the changelog write that belongs to it may still be on its way (``ProducerBuffer.flush`` gives up
after 0.1 s without a message sent), and a kill between the two would lose the event for good.
"""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Final, cast

import faust
from faust.tables.manager import TableManager
from faust.types import TP, ProducerT, StreamT

from board.fold import View
from board.reading import Fetched, positioned
from board.record import Record
from board.rows import SCHEMA, Row, decode, encode

CHANGELOG_SEGMENT_BYTES: Final = 1024 * 1024
"""Kafka compacts closed segments only, and a restart reads all that is left: after 82,500 events
121,250 records with segments of 16 MiB, 33,307 with these, the smallest that it takes."""

REQUEST_SECONDS: Final = 10.0
WRITES_WAITING: Final = 5_000
TABLE: Final = f"rows{SCHEMA}"


class LostWrite(Exception):
    """The broker refused a changelog write: the changelog has a hole and must be made anew."""


class Tables:
    """The board's table over ``topic``, and what the fold knows of it, by partition (``views``).

    ``partitions`` has to be the topic's count. Two processes with the same ``name`` share the
    partitions: then neither knows all (see ``assigned``).
    """

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int, name: str) -> None:
        self.topic = topic
        self.partitions = partitions
        self.views: dict[int, View] = {}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.app = _app(bootstrap_servers, partitions, name)
        self._fetched = Fetched()
        self._stopping: asyncio.Task[None] | None = None
        # Faust has no setting for it; the transport makes its consumer from this attribute.
        self.app.transport.Consumer = positioned(topic, self._positions, self._fetched)  # type: ignore[misc]
        self.app.sensors.add(_Watch(self.failed))
        self._table = self.app.Table(
            TABLE,
            key_type=bytes,
            value_type=bytes,
            partitions=partitions,
            on_recover=self._take_up,
            extra_topic_configs={
                "segment.bytes": CHANGELOG_SEGMENT_BYTES,
                "min.cleanable.dirty.ratio": 0.1,
            },
        )
        events = self.app.topic(
            topic,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            acks=False,
        )
        self.app.agent(events, name="fold")(self._fold)

    @staticmethod
    def changelog_of(name: str) -> str:
        """Return the name of the changelog topic, which Faust makes up so."""
        return f"{name}-{TABLE}-changelog"

    @property
    def changelog(self) -> str:
        """The name of the changelog topic."""
        return str(self._table.changelog_topic.get_topic_name())

    @property
    def recovered(self) -> bool:
        """Whether the rows of the changelog have been taken up and new events are read."""
        return bool(self.app.tables.actives_ready) and not self.app.rebalancing

    @property
    def assigned(self) -> set[int]:
        """The partitions of the topic that this process reads."""
        return {tp.partition for tp in self._assignment() if tp.topic == self.topic}

    def recovery_progress(self) -> tuple[int, int]:
        """Return how many records of the changelog have been read, and of how many."""
        recovery = cast("TableManager", self.app.tables).recovery
        total = sum(mark + 1 for mark in recovery.active_highwaters.values() if mark >= 0)
        done = sum((offset or 0) + 1 for offset in recovery.active_offsets.values())
        return min(total, max(0, done)), total

    async def ends(self) -> dict[int, int]:
        """Ask the broker for the end of each partition; raises when it does not answer in time."""
        async with asyncio.timeout(REQUEST_SECONDS):
            ends = await self.app.consumer.highwaters(*self._sources())
        return {tp.partition: offset for tp, offset in ends.items()}

    async def read_up_to(self) -> dict[int, int]:
        """Return the offset below which every record of each partition has been folded."""
        async with asyncio.timeout(REQUEST_SECONDS):
            at = {tp.partition: await self.app.consumer.position(tp) or 0 for tp in self._sources()}
        # The end of what was fetched may be no record (markers of transactions, records deleted by
        # retention), so the last folded one does not tell it.
        return {
            p: max(self.views[p].position + 1, 0 if self._fetched.waiting(p) else at[p])
            for p in at.keys() & self.views.keys()
        }

    def rows(self) -> dict[bytes, bytes]:
        """Return the table as it stands."""
        return dict(self._table.items())

    async def start(self) -> None:
        """Start; returns when the rows have been taken up. Errors end up in ``failed`` as well."""
        self.app.finalize()
        # What may wait to be sent before reading pauses; Faust's 100 is half a second of work.
        self.app.producer.buffer.max_messages = WRITES_WAITING
        await self.app.start()

    def stop(self) -> asyncio.Task[None]:
        """End it; when the task is done, what was folded is in the changelog."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self.app.stop())
        return self._stopping

    def crashed(self) -> BaseException | None:
        """Return why the app or its fold died, ``None`` while it lives."""
        if self.failed.done():
            return self.failed.exception()
        return self.app.crash_reason

    async def _fold(self, stream: StreamT[bytes]) -> AsyncIterator[None]:
        async for event in stream.events():
            message = event.message
            record = Record(
                message.partition,
                message.offset,
                round(message.timestamp * 1000),
                message.key,
                message.value,
            )
            try:
                self._fetched.cross_out(record.partition, record.offset)
                self._apply(record)
            except Exception as error:
                self._fail(error)
                raise
            yield

    def _apply(self, record: Record) -> None:
        for key, row in self.views[record.partition].apply(record):
            if row is None:
                self._table.pop(key, None)
            else:
                self._table[key] = encode(row)

    async def _take_up(self) -> None:
        rows: dict[int, list[Row]] = defaultdict(list)
        for key, value in self._table.items():
            partition, row = decode(key, value)
            rows[partition].append(row)
        self.views.clear()
        for partition in self.assigned:
            self.views[partition] = view = View(partition)
            view.restore(rows[partition])

    def _positions(self) -> Mapping[TP, int]:
        """Where to go on reading: behind what the rows have, else at the very beginning.

        Faust asks in the middle of a rebalance too; then only for what it has taken up already.
        """
        views = self.views
        return {
            tp: views[tp.partition].position + 1 for tp in self._sources() if tp.partition in views
        }

    def _sources(self) -> list[TP]:
        return [TP(tp.topic, tp.partition) for tp in self._assignment() if tp.topic == self.topic]

    def _assignment(self) -> set[TP]:
        try:
            return set(self.app.consumer.assignment())
        except faust.exceptions.ConsumerNotStarted:
            return set()

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)


def _app(bootstrap_servers: str, partitions: int, name: str) -> faust.App:
    servers = ";".join(f"kafka://{server}" for server in bootstrap_servers.split(","))
    return faust.App(
        name,
        broker=servers,
        store="memory://",
        datadir=tempfile.gettempdir(),
        web_enabled=False,
        topic_partitions=partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        # A killed process is out of the group after the session timeout, not after a minute.
        broker_session_timeout=10.0,
        broker_heartbeat_interval=3.0,
        stream_wait_empty=False,
        logging_config=None,
    )


class _Watch(faust.Sensor):
    """Notices that a changelog write was given up."""

    def __init__(self, failed: asyncio.Future[None]) -> None:
        super().__init__()
        self._failed = failed

    def on_send_error(self, producer: ProducerT, exc: BaseException, state: object) -> None:  # noqa: ARG002
        if not self._failed.done():
            self._failed.set_exception(LostWrite(str(exc)))
