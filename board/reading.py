"""How Faust reads the events topic here: from where the table's rows end, and with nothing lost.

Left alone, Faust loses records when a table has been recovered. It resumes the partitions, then
seeks, then empties the queues between its consumer and the agents; what was fetched in between
comes from the wrong place, and what stands in the queues then counts as read. And a fetch that
waits while the set of its partitions is emptied returns those of any partition. So here:

1. The events' partitions are resumed with the flow, which comes after all that.
2. A fetch keeps to the partitions it was asked for.
3. Each offset is noted as it is fetched (``Fetched``) and crossed out as it is folded. A record
   that comes out of turn is an error, and nobody need guess whether all has been folded.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import TP
from mode.threads import ServiceThread, WorkerThread

JOIN_SECONDS: Final = 1.0
SEEK_SECONDS: Final = 60.0
"""Less than Faust's own 90 s, after which it would go on without having sought."""


class LostRecord(Exception):
    """Records were fetched and did not reach the fold."""


class Fetched:
    """The offsets that were fetched and not yet folded, in order, by partition.

    Written by the consumer's thread, in one go with the consumer's position, and crossed out by
    the fold's.
    """

    def __init__(self) -> None:
        self._offsets: dict[int, deque[int]] = {}

    def forget(self, partition: int) -> None:
        """Begin anew: what was fetched before a seek is not folded."""
        self._offsets[partition] = deque()

    def note(self, partition: int, offsets: Iterable[int]) -> None:
        """Note what was fetched."""
        self._offsets.setdefault(partition, deque()).extend(offsets)

    def cross_out(self, partition: int, offset: int) -> None:
        """Cross out what is being folded; raise ``LostRecord`` when it is not its turn."""
        waiting = self._offsets.get(partition)
        due = waiting.popleft() if waiting else None
        if due != offset:
            raise LostRecord(f"partition {partition}: offset {offset} came instead of {due}")

    def waiting(self, partition: int) -> bool:
        """Whether something was fetched that has not been folded."""
        return bool(self._offsets.get(partition))


def positioned(
    topic: str, positions: Callable[[], Mapping[TP, int]], fetched: Fetched
) -> type[Consumer]:
    """Return a consumer that reads ``topic`` from ``positions`` on, not from committed offsets."""

    class PositionedConsumer(Consumer):
        _held: frozenset[TP] = frozenset()

        def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
            return _ConsumerThread(
                topic, fetched, self, loop=self.loop, beacon=self.beacon, Worker=_Worker
            )

        async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
            self._held = frozenset()
            self._buffered_partitions.clear()
            self.pause_partitions(assigned)
            await super().on_partitions_assigned(assigned, generation_id)

        def resume_partitions(self, tps: Iterable[TP]) -> None:
            tps = frozenset(tps)
            self._held = frozenset(tp for tp in tps if tp.topic == topic)
            super().resume_partitions(tps - self._held)

        async def seek_to_committed(self) -> Mapping[TP, int]:
            wanted = positions()
            async with asyncio.timeout(SEEK_SECONDS):
                await self.seek_wait(wanted)
            return wanted

        def resume_flow(self) -> None:
            super().resume_flow()
            held, self._held = self._held, frozenset()
            super().resume_partitions(held)

    return PositionedConsumer


class _Worker(WorkerThread):
    """A thread that holds up nobody's end.

    Left alone, Faust joins it in the event loop for as long as it takes; and one that is told to
    stop before it has said that it started is not told at all, and keeps the process alive.
    """

    def __init__(self, service: ServiceThread, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(service, **kwargs)
        self.daemon = True

    def stop(self) -> None:
        self.is_stopped.wait(JOIN_SECONDS)


class _ConsumerThread(AIOKafkaConsumerThread):
    """Notes what is fetched, and forgets it with a seek, before the new position can be seen."""

    def __init__(self, topic: str, fetched: Fetched, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._topic = topic
        self._fetched = fetched

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # Faust's
        max_records: int | None = None,
    ) -> Mapping[TP, list[Any]]:
        asked = set(active_partitions)  # Faust changes it meanwhile, and an empty one means all
        if not asked:
            return {}
        records = await super()._fetch_records(consumer, asked, timeout, max_records)
        for tp, batch in records.items():
            if tp.topic == self._topic:
                self._fetched.note(tp.partition, [record.offset for record in batch])
        return records

    async def _seek_wait(self, consumer: AIOKafkaConsumer, partitions: Mapping[TP, int]) -> None:
        for tp in partitions:
            if tp.topic == self._topic:
                self._fetched.forget(tp.partition)
        await super()._seek_wait(consumer, partitions)

    async def on_thread_stop(self) -> None:
        """End without a traceback while the broker is away.

        aiokafka's fetcher awaits a fetch that it has just cancelled and lets the cancellation
        through, and the connections stay open.
        """
        try:
            await super().on_thread_stop()
        except asyncio.CancelledError:
            await self._ensure_consumer()._client.close()  # noqa: SLF001  # what it did not get to
