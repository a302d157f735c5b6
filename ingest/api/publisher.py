"""Puts commands on their topic, and says within seconds when Kafka does not take them."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.structs import RecordMetadata

from domain.commands import Command
from domain.errors import Rejected, Unavailable

PUBLISH_SECONDS: Final = 4.0
"""A client waits this long at most before it is told that Kafka does not answer."""
STOP_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 1.0
BATCH_BYTES: Final = 131_072

log = structlog.get_logger(__name__)


class Publisher:
    """An idempotent producer (acks=all) that is made anew when it can no longer work."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._servers = bootstrap_servers
        self._topic = topic
        self._producer: AIOKafkaProducer | None = None
        self._spent = asyncio.Event()
        self._tried = asyncio.Event()

    async def run(self) -> None:
        """Keep a producer connected until cancelled; while Kafka is away try every second."""
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._servers,
                enable_idempotence=True,
                acks="all",
                max_batch_size=BATCH_BYTES,
                request_timeout_ms=int(PUBLISH_SECONDS * 1000),
            )
            try:
                await producer.start()
                self._spent.clear()
                self._producer = producer
                self._tried.set()
                await self._spent.wait()
            except KafkaError as error:
                log.warning("waiting", server="Kafka", reason=repr(error))
            finally:
                self._producer = None
                self._tried.set()
                await _stop(producer)
            await asyncio.sleep(RETRY_SECONDS)

    async def publish(self, command: Command, traceparent: str | None) -> RecordMetadata:
        """Write a command with its order id as key; return where it stands once acknowledged.

        Raises ``Unavailable`` within ``PUBLISH_SECONDS`` when Kafka does not answer; the command
        may still get there then, so it has to be sent again under the same command id only.
        Raises ``Rejected`` when the broker will never take it.
        """
        headers = [("traceparent", traceparent.encode())] if traceparent else []
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._tried.wait()  # the first requests may come before the connection
                if self._producer is None:
                    raise Unavailable("Kafka does not answer")
                return await self._producer.send_and_wait(
                    self._topic,
                    key=command.order_id.encode(),
                    value=command.model_dump_json(exclude_none=True).encode(),
                    headers=headers,
                )
        except TimeoutError:
            raise Unavailable(f"Kafka did not answer within {PUBLISH_SECONDS:.0f} s") from None
        except MessageSizeTooLargeError as error:
            raise Rejected("the command is too large for the topic") from error
        except KafkaError as error:
            if not error.retriable:
                self._spent.set()
            raise Unavailable(f"Kafka does not take commands now: {error!r}") from error

    async def check(self) -> None:
        """Raise ``Unavailable`` unless a broker answers and knows the topic."""
        if self._producer is None:
            raise Unavailable("not connected")
        if not await self._producer.client.force_metadata_update():
            raise Unavailable("no broker answers")
        if not self._producer.client.cluster.partitions_for_topic(self._topic):
            raise Unavailable(f"topic {self._topic} does not exist: run `orders topics`")


async def _stop(producer: AIOKafkaProducer) -> None:
    """Let what is under way arrive, but not for long when nobody answers."""
    with suppress(TimeoutError):
        await asyncio.wait_for(producer.stop(), STOP_SECONDS)
