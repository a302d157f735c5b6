"""A relay that is killed or frozen at its worst moments: nothing lost, nothing out of order."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import ProducerFenced

from devstack import Child, Endpoints
from persistence.outbox import SHARDS, Shard
from persistence.publisher import Publisher
from tests.integration.persistence.relaying import (
    assert_topic_tells_the_table,
    by_order,
    read_topic,
    relay_here,
    relay_process,
    sessions_of,
    until_published,
    write_orders,
)
from tests.support.topics import Topics
from tests.support.waiting import until

ORDERS = [f"A-{n}" for n in range(40)]


@pytest.mark.chaos
@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("step", ["read", "written", "acknowledged", "deleted"])
async def test_a_relay_killed_at_any_step_loses_nothing_and_keeps_the_order(
    db: asyncpg.Pool,
    db_url: str,
    endpoints: Endpoints,
    topics: Topics,
    tmp_path: Path,
    step: str,
    before: int,
) -> None:
    there = (db_url, endpoints.kafka_bootstrap, topics.events)
    async with relay_process(*there, tmp_path / "log", "SIGKILL", step, str(before)) as killed:
        for round_ in range(1, 5):  # so that a step comes more than once
            await write_orders(db, ORDERS, events=1)
            if killed.returncode is None and round_ < 4:
                await asyncio.sleep(0.2)
        assert await killed.wait() == -signal.SIGKILL
    async with relay_here(*there):
        await write_orders(db, ORDERS)
        await until_published(db)
    records = await read_topic(endpoints.kafka_bootstrap, topics.events)
    await assert_topic_tells_the_table(db, records, repeats=True)


@pytest.mark.parametrize("step", ["read", "written"])
async def test_a_frozen_relay_is_replaced_and_publishes_nothing_when_it_wakes(
    db: asyncpg.Pool, db_url: str, endpoints: Endpoints, topics: Topics, tmp_path: Path, step: str
) -> None:
    there = (db_url, endpoints.kafka_bootstrap, topics.events)
    await write_orders(db, ORDERS)
    async with relay_process(*there, tmp_path / "log", "SIGSTOP", step, "0") as frozen:
        await until(lambda: is_frozen(frozen))  # at its step, with rows in its hands
        async with relay_here(*there):
            await until_published(db)
            await write_orders(db, ORDERS)
            await until_published(db)
            before = places(await read_topic(endpoints.kafka_bootstrap, topics.events))
            frozen.signal(signal.SIGCONT)

            async def is_at_work_again() -> bool:  # with half of the shards, and announced
                return sessions_of(frozen.pid, db_url) == SHARDS // 2 + 1

            await until(is_at_work_again)
            await write_orders(db, ORDERS)
            await until_published(db)
    records = await read_topic(endpoints.kafka_bootstrap, topics.events)
    await assert_topic_tells_the_table(db, records, repeats=True)
    since = by_order([one for one in records if (one.partition, one.offset) not in before])
    old = [event for seen in since.values() for event in seen if event.sequence <= 6]
    assert old == [], "the awakened published what it had read before it froze"


async def is_frozen(child: Child) -> bool:
    return psutil.Process(child.pid).status() == psutil.STATUS_STOPPED


def places(records: Sequence[ConsumerRecord]) -> set[tuple[int, int]]:
    return {(one.partition, one.offset) for one in records}


async def test_the_broker_refuses_a_producer_whose_shard_has_a_newer_one(
    db: asyncpg.Pool, db_url: str, endpoints: Endpoints, topics: Topics
) -> None:
    await write_orders(db, ORDERS)
    async with Shard.hold(db_url, 0) as shard:
        rows = await shard.read(1000)
    older = await Publisher.start(endpoints.kafka_bootstrap, topics.events, 0)
    newer = await Publisher.start(endpoints.kafka_bootstrap, topics.events, 0)
    other = await Publisher.start(endpoints.kafka_bootstrap, topics.events, 1)
    try:
        assert len((await newer.send(rows)).acknowledged) == len(rows)
        refused = await older.send(rows)
        assert refused.acknowledged == []
        assert {type(error) for error, _ in refused.refused} == {ProducerFenced}
        assert older.spent
        assert len((await newer.send(rows)).acknowledged) == len(rows)
        assert len((await other.send(rows)).acknowledged) == len(rows)
    finally:
        for publisher in (older, newer, other):
            await publisher.stop()


async def test_a_producer_is_closed_to_its_end_though_its_task_is_cancelled_meanwhile(
    endpoints: Endpoints, topics: Topics
) -> None:
    publisher = await Publisher.start(endpoints.kafka_bootstrap, topics.events, 0)
    sender = publisher._producer._sender.sender_task
    stopping = asyncio.create_task(publisher.stop())
    await asyncio.sleep(0)  # it has begun
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert sender.done()
    assert publisher._producer._closed
