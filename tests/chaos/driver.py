"""The driver: plays stories through Kafka and the REST API, and keeps the ledger."""

import asyncio
import json
import random
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.chaos.ledger import Acknowledged, Ledger, Message, Story
from tests.chaos.pace import Pace

API_TRIES_SECONDS: Final = 30.0
_LATER: Final = 500


class Driver:
    """Starts ``rate`` stories a second and sends each one's messages in their order.

    A message that Kafka or the API acknowledged stands in ``ledger.acknowledged``; one whose
    sending failed stands in ``ledger.unclear``; one that the API calls bad, though none that is
    posted is, in ``ledger.turned_away``.
    """

    def __init__(self, bootstrap: str, topic: str, api_url: str, rate: float) -> None:
        self.ledger = Ledger()
        self._bootstrap = bootstrap
        self._topic = topic
        self._api_url = api_url
        self._rate = rate
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, enable_idempotence=True, acks="all"
        )
        await self._producer.start()
        self._exit.push_async_callback(self._producer.stop)
        self._http = await self._exit.enter_async_context(
            httpx.AsyncClient(base_url=self._api_url, timeout=5, trust_env=False)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exit.aclose()

    async def play(
        self, stories: Iterator[Story], ends: float, chance: random.Random, pace: Pace
    ) -> None:
        """Begin stories at random moments until ``ends``; return when all have been told."""
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < ends:
                story = next(stories)
                self.ledger.stories.append(story)
                group.create_task(self._tell(story))
                await asyncio.sleep(chance.expovariate(self._rate))
                await pace.room(ends)

    async def _tell(self, story: Story) -> None:
        for pause, message in story.steps:
            await asyncio.sleep(pause)
            try:
                send = self._post if message.via == "rest" else self._produce
                self.ledger.acknowledged.append(await send(message))
            except (KafkaError, httpx.HTTPError) as error:
                self._not_acknowledged(message, error)

    def _not_acknowledged(self, message: Message, error: Exception) -> None:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < _LATER:
            answer = f"{error.response.status_code} {error.response.text}"
            self.ledger.turned_away.append((message, answer))
        else:
            self.ledger.unclear.append((message, repr(error)))

    async def _produce(self, message: Message) -> Acknowledged:
        place = await self._producer.send_and_wait(self._topic, message.value, message.key)
        return Acknowledged(message, time.time(), place.partition, place.offset)

    async def _post(self, message: Message) -> Acknowledged:
        """Post until the API takes it; the same ``Idempotency-Key`` makes that one command."""
        document = json.loads(message.value)
        kind, order_id = document.pop("type"), document.pop("order_id")
        key = document.pop("command_id")
        path = "start" if kind == "start" else f"signals/{kind}"
        give_up = time.monotonic() + API_TRIES_SECONDS
        while True:
            try:
                answer = await self._http.post(
                    f"/orders/{order_id}/{path}", json=document, headers={"Idempotency-Key": key}
                )
                if answer.status_code < _LATER or time.monotonic() > give_up:
                    answer.raise_for_status()
                    return Acknowledged(
                        message, time.time(), command_id=str(answer.json()["command_id"])
                    )
            except httpx.TransportError:
                if time.monotonic() > give_up:
                    raise
            await asyncio.sleep(0.5)
