"""The tables when the broker goes away, comes back, or was never there; a broker of its own."""

import asyncio
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from devstack import Endpoints, free_port
from devstack.kafka import Kafka
from devstack.server import Home
from tests.integration.board.test_tables import (
    assert_same,
    caught_up,
    following,
    made_up_events,
    publish,
)
from tests.support.waiting import until

TOPIC = "events"


def endpoints_of(kafka: Kafka) -> Endpoints:
    return Endpoints("", kafka.where, "", 0, "")


async def create_topic(kafka: Kafka) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.where)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, 4, 1)])
    await admin.close()


async def test_it_says_that_the_broker_is_away_and_goes_on_when_it_is_back(kafka: Kafka) -> None:
    endpoints = endpoints_of(kafka)
    await create_topic(kafka)
    await publish(endpoints, TOPIC, made_up_events(300, seed=11))
    async with following(endpoints, TOPIC) as follower:
        await caught_up(follower)
        await kafka.kill()

        async def away() -> bool:
            return follower.status.problem is not None

        await until(away, patience=120)
        await kafka.start()
        await publish(endpoints, TOPIC, made_up_events(300, seed=12))

        async def back() -> bool:
            return follower.status.problem is None and follower.status.complete

        await until(back, patience=180)
        await caught_up(follower)
        await assert_same(follower, endpoints, TOPIC)


async def test_started_without_a_broker_it_waits_for_one(tmp_path: Path) -> None:
    home = Home(tmp_path, (), persistent=False, say=print, died=print)
    kafka = Kafka(home, free_port())
    kafka.log.parent.mkdir()
    async with following(endpoints_of(kafka), TOPIC) as follower:
        await asyncio.sleep(1)
        assert follower.status.problem
        assert not follower.status.complete
        await kafka.start()
        try:
            await create_topic(kafka)
            await publish(endpoints_of(kafka), TOPIC, made_up_events(50, seed=13))
            await caught_up(follower)
            await assert_same(follower, endpoints_of(kafka), TOPIC)
        finally:
            await kafka.stop()
