"""The consumer of commands: reads ahead, hands on in order, commits what is finished."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    UnsupportedCodecError,
)

from domain.commands import StartOrder
from domain.errors import Rejected
from ingest.admission import Admission
from ingest.commits import hear_out
from ingest.dead_letters import DeadLetters, TimedRecord, place
from ingest.decode import decode
from ingest.handle import CommandHandler, Outcome
from ingest.header_keys import tolerate_any_header_key
from ingest.lanes import Entry, Lanes
from ingest.metrics import Metrics
from ingest.outage import KAFKA_AWAY, Outage
from ingest.watch import CannotConsume, Watch
from orchestration.contract import CommandMessage

POLL_MS: Final = 200
POLL_RECORDS: Final = 5
"""Between polls everything else has its turn. A record made to be costly takes a tenth of a second
to refuse, and 100 of those at once kept the group waiting 8 s for a heartbeat."""
TROUBLE_SECONDS: Final = 1.0
"""Between polls that fail; below ``outage.QUIET_SECONDS``, so that it is said once."""
COMMIT_EVERY_SECONDS: Final = 0.25
COMMIT_TIMEOUT_SECONDS: Final = 5.0
ADMISSION_EVERY_SECONDS: Final = 0.05
ROOM_IS_FRESH_SECONDS: Final = 0.25
INHERITED_MOST: Final = 2_000
"""So many of the newest orders in Temporal are looked at for starts that nobody has received."""
INHERITED_EVERY_SECONDS: Final = 5.0
DRAIN_SECONDS: Final = 5.0
"""What runs at a revoke may take this long; well below the rebalance timeout."""
DRAIN_IN_OUTAGE_SECONDS: Final = 0.5
CANCEL_SECONDS: Final = 1.0
"""asyncpg asks a server to cancel a statement, and waits for one that is frozen."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """A record and what it holds: a command, or the reason why it holds none."""

    record: TimedRecord
    content: CommandMessage | Rejected
    taken: float


def make_consumer(bootstrap_servers: str, group_id: str) -> AIOKafkaConsumer:
    """Return a consumer, neither started nor subscribed, that commits only when told."""
    tolerate_any_header_key()
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        group_id=group_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=2_000,
        rebalance_timeout_ms=30_000,
        metadata_max_age_ms=30_000,
    )


class CommandConsumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """One member of the ingest group.

    The poll loop never waits for a handler. A handler that waits for a server holds its own
    order's lane and no other; when the bounds are reached partitions are paused and polling
    goes on. Whenever the process dies, all that it had not finished is redelivered to its
    successor, and some of what it had: handlers are safe to repeat.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        topic: str,
        handler: CommandHandler,
        dead_letters: DeadLetters,
        admission: Admission,
        metrics: Metrics,
        on_joined: Callable[[], None],
    ) -> None:
        self.lanes: Lanes[Work] = Lanes()
        self.kafka = Outage("Kafka")
        self.handler = handler
        self.admission = admission
        self.metrics = metrics
        self.paused: set[TopicPartition] = set()
        self.watch = Watch(consumer, self.lanes, self.kafka)
        self.joined = False
        self._on_joined = on_joined
        self._consumer = consumer
        self._topic = topic
        self._dead_letters = dead_letters
        self._running: set[asyncio.Task[None]] = set()
        self._wanted = asyncio.Event()  # a start waits for admission
        self._counted = 0.0
        self._inherited: float | None = None

    @property
    def outages(self) -> tuple[Outage, ...]:
        """The servers this process needs."""
        return self.kafka, self.handler.temporal, self.handler.postgresql

    def share(self) -> float:
        """Return which part of all partitions this process owns, from 0 to 1."""
        everything = self._consumer.partitions_for_topic(self._topic) or ()
        return len(self._consumer.assignment()) / max(len(everything), 1)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until ``stop``; then finish what runs, commit, and leave the group.

        The consumer must have been started. An error that nobody expects ends this with an
        ``ExceptionGroup``.
        """
        self._consumer.subscribe([self._topic], listener=self)
        async with asyncio.TaskGroup() as self._tasks:
            loops = [
                self._tasks.create_task(loop)
                for loop in (
                    self._poll(),
                    self._commit_often(),
                    self._admit(),
                    self.watch.look_often(),
                )
            ]
            await stop.wait()
            for loop in loops:
                loop.cancel()
            await asyncio.wait(loops)
            # stop() of the consumer does not call the revoke listener.
            await self._let_go()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish what runs, for a bounded time, commit, and forget the rest."""
        self.watch.left_group()
        if not set(revoked):
            return
        self.metrics.rebalances.inc()
        try:
            await self._let_go()
        except Exception as error:  # noqa: BLE001 - aiokafka would only log it
            self._tasks.create_task(_raise(error))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin anew: a rebalance forgets positions and pauses even of kept partitions."""
        self.paused.clear()
        self.watch.joined_group()
        self._counted, self._inherited = 0.0, None
        if not self.joined:
            self.joined = True
            self._on_joined()
        log.info("partitions assigned", partitions=sorted(tp.partition for tp in assigned))

    async def _let_go(self) -> None:
        self.lanes.withdraw()
        patience = DRAIN_IN_OUTAGE_SECONDS if any(o.away for o in self.outages) else DRAIN_SECONDS
        if self._running:
            await asyncio.wait(self._running, timeout=patience)
        await self._commit()
        self.lanes.revoke()
        unfinished = list(self._running)
        for task in unfinished:
            task.cancel()
        if unfinished:
            log.warning("left to the next owner", commands=len(unfinished))
            await asyncio.wait(unfinished, timeout=CANCEL_SECONDS)

    async def _poll(self) -> None:
        trouble: KafkaError | None = None
        while True:
            self._pause_or_resume()
            try:
                batches = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
            except (CorruptRecordException, UnsupportedCodecError) as error:
                # What getmany had taken from other partitions before it met this is gone for
                # this process, so it must not go on; nothing of it has been committed.
                raise CannotConsume(f"cannot read {self._topic}: {error}") from error
            except KafkaError as error:
                if error is trouble:  # aiokafka: the very same again when its loop has died of it
                    raise CannotConsume(f"aiokafka has given up: {error}") from error
                trouble = error
                self.kafka.went_away(repr(error))
                await asyncio.sleep(TROUBLE_SECONDS)
                continue
            # Nothing is awaited from here to the end of the batch: it belongs to this epoch.
            for records in batches.values():
                for record in records:
                    self._take(record)
            self._pump()
            await asyncio.sleep(0)  # getmany() awaits nothing while it has records

    def _take(self, record: TimedRecord) -> None:
        content: CommandMessage | Rejected
        try:
            content = decode(record)
        except Rejected as error:
            content = error
            lane = f"/{place(record)}"  # no order id begins with a slash
        else:
            lane = content.command.order_id
        self.lanes.take(
            record.partition,
            record.offset,
            lane,
            len(record.value or b"") + len(record.key or b""),
            Work(record, content, time.monotonic()),
            gated=isinstance(content, CommandMessage) and isinstance(content.command, StartOrder),
        )

    def _pump(self) -> None:
        """Run what may run now."""
        fresh = time.monotonic() - self._counted < ROOM_IS_FRESH_SECONDS
        for entry in self.lanes.dispatch(self.admission.room if fresh else 0):
            if entry.gated:
                self.admission.admit(entry.lane)
            task = self._tasks.create_task(self._work(entry))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if self.lanes.waiting_starts:
            self._wanted.set()

    async def _work(self, entry: Entry[Work]) -> None:
        work = entry.work
        if isinstance(work.content, CommandMessage):
            try:
                outcome = await self.handler.handle(work.content)
            except Rejected as error:
                outcome = await self._bury(work, error)
        else:
            outcome = await self._bury(work, work.content)
        self.metrics.commands.labels(outcome).inc()
        self.metrics.seconds.observe(time.monotonic() - work.taken)
        _tell(work, outcome)
        self.lanes.finish(entry)
        self._pump()

    async def _bury(self, work: Work, error: Rejected) -> Outcome:
        about = _about(work)
        await self.kafka.outlast(lambda: self._dead_letters.bury(work.record, error), about=about)
        log.warning("dead letter", error=str(error), **about)
        return Outcome.DEAD_LETTERED

    def _pause_or_resume(self) -> None:
        assigned = self._consumer.assignment()
        full = {tp for tp in assigned - self.paused if self.lanes.full(tp.partition)}
        eased = {tp for tp in assigned & self.paused if self.lanes.eased(tp.partition)}
        self._consumer.pause(*full)
        self._consumer.resume(*eased)
        self.paused = (self.paused & assigned) - eased | full

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        """Commit what is finished; whatever is in the way, the next time does it as well."""
        epoch = self.lanes.epoch
        assigned = self._consumer.assignment()
        offsets = {
            tp: position
            for partition, position in self.lanes.to_commit().items()
            if (tp := TopicPartition(self._topic, partition)) in assigned
        }
        if not offsets:
            return
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_SECONDS):
                await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError):
            log.info("commit came too late: the group is rebalancing")
        except KAFKA_AWAY as error:
            hear_out()
            self.kafka.went_away(f"cannot commit: {error!r}")
        else:
            if epoch == self.lanes.epoch:
                self.lanes.committed({tp.partition: at for tp, at in offsets.items()})

    async def _admit(self) -> None:
        """Let starts in as room comes; costs nothing while none waits."""
        postgresql = self.handler.postgresql
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._inherit()
            await postgresql.outlast(lambda: self.admission.refresh(self.share()))
            if self._inherited is not None:  # no rebalance meanwhile
                self._counted = time.monotonic()
                self._pump()
            if self.lanes.waiting_starts:
                await asyncio.sleep(ADMISSION_EVERY_SECONDS)

    async def _inherit(self) -> None:
        """Look into Temporal for starts after a rebalance, and while some are in doubt."""
        now, admission = time.monotonic(), self.admission
        if self._inherited is None:
            self._inherited = now
            running = await self.handler.started(INHERITED_MOST)
            await self.handler.postgresql.outlast(lambda: admission.inherit(running))
        elif admission.in_doubt and now - self._inherited > INHERITED_EVERY_SECONDS:
            self._inherited = now
            admission.keep_running(await self.handler.started(INHERITED_MOST))


def _about(work: Work) -> dict[str, object]:
    record = work.record
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    if isinstance(work.content, Rejected):
        return place
    command = work.content.command
    return {"order_id": command.order_id, "command_id": command.command_id, **place}


def _tell(work: Work, outcome: Outcome) -> None:
    if isinstance(work.content, CommandMessage):
        tell = log.debug if outcome is Outcome.DELIVERED else log.info
        tell(outcome.value, type=work.content.command.type, **_about(work))


async def _raise(error: Exception) -> None:
    raise error
