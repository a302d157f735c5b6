"""Looks at Kafka from time to time: is it there, how far behind, and does reading go on."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError

from domain.errors import OrderError
from ingest.lanes import Lanes
from ingest.outage import KAFKA_AWAY, Outage

EVERY_SECONDS: Final = 2.0
TIMEOUT_SECONDS: Final = 5.0
POSITION_SECONDS: Final = 1.0
STALLED_LOOKS: Final = 45
"""One and a half minutes at least, well above what a rebalance may take. Looks, not seconds: a
process that was frozen has not looked."""


class CannotConsume(OrderError):
    """This process cannot read the topic any further; a new one may be able to."""


class Watch:
    """``lag``: for each own partition how many offsets are written and not finished.

    aiokafka's loops can end without a word (its issues 983 and 1154): then nothing fails and
    nothing comes. It is seen by records that wait while the position stands still, or by a
    rebalance that has no end though Kafka answers.
    """

    def __init__(self, consumer: AIOKafkaConsumer, lanes: Lanes[Any], kafka: Outage) -> None:
        self.lag: dict[int, int] = {}
        self._consumer = consumer
        self._lanes = lanes
        self._kafka = kafka
        self._still: dict[TopicPartition, tuple[int | None, int]] = {}
        self._member = False
        self._outside = 0

    async def look_often(self) -> None:
        """Look until cancelled; that Kafka goes away or comes back is said once.

        Raises ``CannotConsume`` when what stands there has not been fetched for too long, or
        when the group has not given this process an assignment, be it an empty one, for as long.
        """
        while True:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self.look()
            except IllegalStateError:
                pass  # a rebalance took a partition away in between
            except KAFKA_AWAY as error:
                self._forget()
                self._kafka.went_away(repr(error))
            else:
                self._kafka.answered()
            await asyncio.sleep(EVERY_SECONDS)

    def left_group(self) -> None:
        """Note that a rebalance has begun: aiokafka keeps the old assignment until it ends."""
        self._member = False

    def joined_group(self) -> None:
        """Note an assignment, be it empty: reading begins anew."""
        self._member = True
        self._forget()

    async def look(self) -> None:
        """Ask for the ends of the own partitions, or, without any, for the list of topics."""
        places = self._consumer.assignment() if self._member else None
        if not places:
            self.lag = {}
            await self._consumer.topics()
            self._check_joining()
            return
        ends = await self._consumer.end_offsets(places)
        fetched = await self._positions(places)
        lag = {}
        for place, end in ends.items():
            # Not the offset behind the last one finished: transaction markers have offsets, too.
            unfinished = self._lanes.unfinished(place.partition)
            position = fetched[place] if unfinished is None else unfinished
            if position is not None:
                lag[place.partition] = max(end - position, 0)
            self._check_moving(place, fetched[place], end)
        self.lag = lag

    async def _positions(
        self, places: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int | None]:
        """Return from where each is fetched next; ``None``: that has not been found out yet."""

        async def position(place: TopicPartition) -> int | None:
            try:
                async with asyncio.timeout(POSITION_SECONDS):
                    found: int = await self._consumer.position(place)
            except TimeoutError:
                return None
            return found

        places = list(places)
        return dict(
            zip(places, await asyncio.gather(*(position(place) for place in places)), strict=True)
        )

    def _forget(self) -> None:
        self._still.clear()
        self._outside = 0

    def _check_joining(self) -> None:
        if self._member:
            return
        self._outside += 1
        if self._outside > STALLED_LOOKS:
            raise CannotConsume("not back in the group though Kafka answers: begin anew")

    def _check_moving(self, place: TopicPartition, fetched: int | None, end: int) -> None:
        if place in self._consumer.paused() or (fetched is not None and fetched >= end):
            self._still.pop(place, None)
            return
        at, looks = self._still.get(place, (fetched, 0))
        looks = looks + 1 if at == fetched else 1
        self._still[place] = fetched, looks
        if looks > STALLED_LOOKS:
            raise CannotConsume(
                f"partition {place.partition} has records up to offset {end}, and at "
                f"{fetched} nothing is fetched any more: begin anew"
            )
