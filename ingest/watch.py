"""Looks at Kafka from time to time: is it there, and how far behind is this process."""

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError

from ingest.lanes import Lanes
from ingest.outage import KAFKA_AWAY, Outage

EVERY_SECONDS: Final = 2.0
TIMEOUT_SECONDS: Final = 5.0


class Watch:
    """``lag``: for each own partition how many offsets are written and not finished."""

    def __init__(self, consumer: AIOKafkaConsumer, lanes: Lanes[Any], kafka: Outage) -> None:
        self.lag: dict[int, int] = {}
        self._consumer = consumer
        self._lanes = lanes
        self._kafka = kafka

    async def look_often(self) -> None:
        """Look until cancelled; that Kafka goes away or comes back is said once."""
        while True:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self.look()
            except IllegalStateError:
                pass  # a rebalance took a partition away in between
            except KAFKA_AWAY as error:
                self._kafka.went_away(repr(error))
            else:
                self._kafka.answered()
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Ask for the ends of the own partitions, or, without any, for the list of topics."""
        places = self._consumer.assignment()
        if not places:
            self.lag = {}
            await self._consumer.topics()
            return
        ends = await self._consumer.end_offsets(places)
        lag = {}
        for place, end in ends.items():
            position = self._lanes.position(place.partition)
            if position is None:
                position = await self._consumer.position(place)
            lag[place.partition] = max(end - position, 0)
        self.lag = lag
