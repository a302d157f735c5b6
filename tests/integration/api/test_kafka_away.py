"""The broker freezes or dies under the API and comes back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from devstack import Endpoints, free_port
from devstack.kafka import Kafka
from devstack.server import Home
from domain.errors import Unavailable
from ingest.api.publisher import PUBLISH_SECONDS
from ingest.replay import read_all
from ingest.settings import Settings
from ingest.topics import create_topics
from tests.support.rest import ADDRESS, Rest, running_api
from tests.support.topics import Topics
from tests.support.waiting import until

HANGS = PUBLISH_SECONDS + 20
"""Less than the 40 s after which the Kafka client itself gives up."""


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncIterator[Kafka]:
    (tmp_path / "logs").mkdir()
    kafka = Kafka(Home(tmp_path, (), persistent=True, say=print, died=print), free_port())
    await kafka.start()
    yield kafka
    await kafka.stop()


@pytest.fixture
async def rest(
    kafka: Kafka,
    endpoints: Endpoints,
    db_url: str,
    unique: Callable[[str], str],
    tmp_path: Path,
) -> AsyncIterator[Rest]:
    """The API alone: nothing reads the commands that it puts on the topic."""
    servers = f"127.0.0.1:{kafka.port}"
    topics = Topics(unique("commands"), unique("events"), unique("dlt"))
    await create_topics(servers, topics.commands, topics.events, topics.dead_letters)
    environment = {
        **endpoints.as_env(),
        "DB_URL": db_url,
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "COMMANDS_TOPIC": topics.commands,
        "EVENTS_TOPIC": topics.events,
        "DEAD_LETTER_TOPIC": topics.dead_letters,
        "LOG_FORMAT": "json",
    }
    async with running_api(environment, tmp_path) as running:
        yield running


async def on_the_topic(rest: Rest) -> list[str]:
    """Return the order ids of all commands, in no order."""
    consumer = AIOKafkaConsumer(
        rest.environment["COMMANDS_TOPIC"],
        bootstrap_servers=rest.environment["KAFKA_BOOTSTRAP_SERVERS"],
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        keys: list[str] = []
        while len(keys) < sum(ends.values()):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                keys += [(record.key or b"").decode() for record in records]
        return keys
    finally:
        await consumer.stop()


async def start(rest: Rest, order_id: str) -> httpx.Response:
    headers = {"Idempotency-Key": f"key-{order_id}"}
    body = {"initial_address": ADDRESS}
    return await rest.http.post(f"/orders/{order_id}/start", json=body, headers=headers)


async def dead_letter(rest: Rest) -> str:
    """Put a dead letter on its topic; return the id under which the API knows it."""
    producer = AIOKafkaProducer(bootstrap_servers=rest.environment["KAFKA_BOOTSTRAP_SERVERS"])
    await producer.start()
    try:
        await producer.send_and_wait(rest.environment["DEAD_LETTER_TOPIC"], b"{}")
    finally:
        await producer.stop()

    async def known() -> str | None:
        letters = (await rest.http.get("/dead-letters")).json()["dead_letters"]
        return str(letters[0]["id"]) if letters else None

    found = await until(known)
    assert found is not None
    return found


async def accepted_again(rest: Rest, order_id: str) -> None:
    async def accepted() -> bool:
        return (await start(rest, order_id)).status_code == 202

    await until(accepted)


async def test_a_frozen_broker_is_503_with_retry_after_and_what_is_sent_again_arrives(
    rest: Rest, kafka: Kafka
) -> None:
    assert (await start(rest, "A-1")).status_code == 202
    letter = await dead_letter(rest)
    variables = {name.lower(): value for name, value in rest.environment.items()}
    settings = Settings.model_validate(variables)

    os.kill(kafka.pid, signal.SIGSTOP)
    try:
        answers = await asyncio.gather(*(start(rest, f"A-{n}") for n in range(2, 12)))
        reads = await rest.http.get("/orders")
        ready = await rest.http.get("/ready")
        replayed = await rest.http.post(f"/dead-letters/{letter}/replay", timeout=HANGS)
        with pytest.raises(Unavailable, match="Kafka does not answer"):
            async with asyncio.timeout(HANGS):
                await read_all(settings)
    finally:
        os.kill(kafka.pid, signal.SIGCONT)

    for answer in (*answers, replayed):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    for answer in answers:
        assert answer.json()["command_id"].startswith("key-A-")
    assert reads.status_code == 200
    assert ready.status_code == 503
    for n in range(2, 12):
        await accepted_again(rest, f"A-{n}")
    assert set(await on_the_topic(rest)) == {f"A-{n}" for n in range(1, 12)}


async def test_a_broker_that_was_killed_is_found_again_and_nothing_accepted_is_lost(
    rest: Rest, kafka: Kafka
) -> None:
    accepted: set[str] = set()
    over = asyncio.Event()

    async def send_on(lane: int) -> None:
        number = 0
        while not over.is_set():
            order_id = f"K-{lane}-{number}"
            if (await start(rest, order_id)).status_code == 202:
                accepted.add(order_id)
                number += 1

    lanes = [asyncio.create_task(send_on(lane)) for lane in range(4)]
    await until(lambda: _count(accepted, 50))
    await kafka.kill()
    await kafka.start()
    before = len(accepted)
    await until(lambda: _count(accepted, before + 50))
    over.set()
    await asyncio.gather(*lanes)

    assert accepted <= set(await on_the_topic(rest))


async def _count(accepted: set[str], wanted: int) -> bool:
    return len(accepted) >= wanted
