"""The relay: publishes the outbox on the topic of events, in order per order, at least once.

Any number of relays share the shards. Each looks around once a second, serves free shards up
to its fair share, hands over what it has above that, and ends the sessions of relays that show
no life. What is true whenever a relay dies, on any line: a row leaves the outbox only after the
broker acknowledged it, so nothing is lost; the shard's lock goes with the session, and the next
owner sends what was not deleted once more, with the same ``ce_id``.
"""

import asyncio
import math
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final

import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from domain.errors import Unavailable
from persistence.outbox import SHARDS, Presence, Shard, ShardTaken, vacuum
from persistence.publisher import BATCH_BYTES, Publisher, Sent

ROWS: Final = 1000
LOOK_SECONDS: Final = 1.0
POLL_SECONDS: Final = 1.0
"""How often a shard is read without having been woken."""
GRACE_SECONDS: Final = 5.0
"""How long the end of a shard waits for acknowledgements; what is left stays in the outbox."""
VACUUM_ROWS: Final = 10_000
"""How many rows this relay deletes between two vacuums of the outbox."""
SLOW_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 1.0

_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
_log = structlog.get_logger("relay")


async def run_relay(db_url: str, kafka_bootstrap: str, topic: str, *, stop: asyncio.Event) -> None:
    """Publish until ``stop`` is set; then finish what runs and close everything.

    While PostgreSQL or the broker is away it says once what it waits for, tries again every
    second, and goes on by itself. Raises only what is a defect.
    """
    relay = _Relay(db_url, kafka_bootstrap, topic, stop)
    try:
        while not stop.is_set():
            try:
                async with Presence.announce(db_url) as presence:
                    await relay.look_around(presence)
            except Unavailable as error:
                relay.waits_for("PostgreSQL", error)
                await _at_most(stop.wait(), RETRY_SECONDS)
    finally:
        await relay.close()


async def publish_batch(shard: Shard, publisher: Publisher, limit: int = ROWS) -> int:
    """Read up to ``limit`` rows, send them, delete what was acknowledged; return how many read.

    Dies it after the read, nothing has happened; after the sending, the rows are sent again by
    whoever holds the shard next. A row that is too large for the broker is set aside together
    with what follows it in its order, so that no consumer sees a gap; other orders go on. After
    a refusal the publisher is spent. Raises ``Unavailable`` (PostgreSQL), and ``KafkaError`` for
    any other refusal, after what was acknowledged has been deleted.
    """
    rows = await shard.read(limit)
    blocked = [row["id"] for row in rows if row["blocked"]]
    if blocked:
        reason = "an earlier event of this order has been set aside"
        await shard.set_aside(blocked, reason, behind=True)
    sent = await publisher.send([row for row in rows if not row["blocked"]])
    if sent.acknowledged:
        await shard.delete(sent.acknowledged)
    await _settle_refused(shard, publisher, sent)
    return len(rows)


async def _settle_refused(shard: Shard, publisher: Publisher, sent: Sent) -> None:
    """Set aside what is too large, shrink batches that are; raise any other refusal."""
    for error, ids in sent.refused:
        if not isinstance(error, _TOO_LARGE):
            raise error
        if len(ids) > 1:
            publisher.batch_bytes //= 2
            continue
        await shard.set_aside(ids, f"{type(error).__name__}: {error}")
        _log.error("event set aside: too large for the broker", outbox_id=ids[0], error=str(error))


class _Relay:
    """The shards that one process serves, each by a task of its own."""

    def __init__(self, db_url: str, bootstrap: str, topic: str, stop: asyncio.Event) -> None:
        self._db_url = db_url
        self._bootstrap = bootstrap
        self._topic = topic
        self._stop = stop
        self._serving: dict[int, asyncio.Task[None]] = {}
        self._hand_over: dict[int, asyncio.Event] = {}
        self._waiting_for: set[str] = set()
        self._deleted = 0
        self._vacuuming: asyncio.Task[None] | None = None

    async def look_around(self, presence: Presence) -> None:
        """Take and hand over shards until ``stop``; raises ``Unavailable`` with PostgreSQL."""
        while not self._stop.is_set():
            view = await presence.look()
            self._goes_on("PostgreSQL")
            self._collect_ended()
            self._start_vacuum()
            share = math.ceil(SHARDS / max(view.relays, 1))
            for shard in sorted(set(range(SHARDS)) - view.held - self._serving.keys()):
                if len(self._serving) < share:
                    self._take(shard)
            for shard in list(self._serving)[share:]:
                self._hand_over[shard].set()
            await _at_most(self._stop.wait(), LOOK_SECONDS)

    def _take(self, shard: int) -> None:
        self._hand_over[shard] = asyncio.Event()
        self._serving[shard] = asyncio.create_task(self._serve(shard), name=f"relay-{shard}")

    def _collect_ended(self) -> None:
        """Forget the tasks that ended; raise what one died of."""
        for shard, task in list(self._serving.items()):
            if task.done():
                del self._serving[shard]
                task.result()

    def _start_vacuum(self) -> None:
        if self._vacuuming is not None and self._vacuuming.done():
            self._vacuuming.result()
            self._vacuuming = None
        if self._deleted >= VACUUM_ROWS and self._vacuuming is None:
            self._deleted = 0
            self._vacuuming = asyncio.create_task(self._vacuum(), name="relay-vacuum")

    async def _vacuum(self) -> None:
        try:
            await vacuum(self._db_url)
        except Unavailable as error:
            self.waits_for("PostgreSQL", error)

    async def close(self) -> None:
        """Hand over all shards; raises what a task died of."""
        if self._vacuuming is not None:
            self._vacuuming.cancel()
            await asyncio.wait({self._vacuuming})
        for event in self._hand_over.values():
            event.set()
        for task in self._serving.values():
            await task

    async def _serve(self, number: int) -> None:
        """Publish one shard until it is handed over or lost."""
        try:
            async with Shard.hold(self._db_url, number) as shard:
                _log.info("shard taken", shard=number)
                await self._publish_while_held(shard)
                _log.info("shard handed over", shard=number)
        except ShardTaken:
            pass
        except Unavailable as error:
            self.waits_for("PostgreSQL", error)

    async def _publish_while_held(self, shard: Shard) -> None:
        """Publish, beside a heartbeat whose failure ends the publishing at once."""
        ending = self._hand_over[shard.number]
        publishing = asyncio.create_task(self._publish(shard, ending))
        heartbeat = asyncio.create_task(_show_life(shard))
        handing_over = asyncio.create_task(ending.wait())
        tasks: set[asyncio.Task[None] | asyncio.Task[bool]]
        tasks = {publishing, heartbeat, handing_over}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if handing_over.done() and not heartbeat.done():
                shard.wake()
                await asyncio.wait(
                    {publishing, heartbeat},
                    timeout=GRACE_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for result in ended:
            if isinstance(result, Exception):
                raise result

    async def _publish(self, shard: Shard, ending: asyncio.Event) -> None:
        """Run producers one after the other; each is spent after a refusal or a day."""
        batch_bytes = BATCH_BYTES
        while not ending.is_set():
            await shard.show_life()
            try:
                publisher = await Publisher.start(
                    self._bootstrap, self._topic, shard.number, batch_bytes
                )
                self._goes_on("Kafka")
                try:
                    await self._publish_with(publisher, shard, ending)
                finally:
                    batch_bytes = publisher.batch_bytes
                    await publisher.stop()
            except (KafkaError, OSError) as error:
                self.waits_for("Kafka", error)
                await _at_most(ending.wait(), RETRY_SECONDS)

    async def _publish_with(
        self, publisher: Publisher, shard: Shard, ending: asyncio.Event
    ) -> None:
        loop = asyncio.get_running_loop()
        while not ending.is_set():
            slow = loop.call_later(SLOW_SECONDS, self._say_if_waiting, publisher)
            try:
                count = await publish_batch(shard, publisher)
            finally:
                slow.cancel()
            if count:
                self._deleted += count
                self._goes_on("Kafka")
            if publisher.spent:
                return
            if count < ROWS:
                await shard.wait(POLL_SECONDS)

    def _say_if_waiting(self, publisher: Publisher) -> None:
        if publisher.waiting:
            self.waits_for("Kafka", "no acknowledgement so far")

    def waits_for(self, what: str, why: object) -> None:
        """Say it, once until ``_goes_on``."""
        if what not in self._waiting_for:
            self._waiting_for.add(what)
            _log.warning(f"waiting for {what}", error=str(why))

    def _goes_on(self, what: str) -> None:
        if what in self._waiting_for:
            self._waiting_for.discard(what)
            _log.info(f"{what} is back")


async def _show_life(shard: Shard) -> None:
    """Keep the shard's session alive, whatever the broker does; raises when it is lost."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        await shard.show_life()


async def _at_most(waiting: Awaitable[object], seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(waiting, seconds)
