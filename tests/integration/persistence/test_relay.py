"""The relay publishes every event, in order, as CloudEvents; several share the work."""

import json
import shutil
from pathlib import Path

import asyncpg
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

from devstack import Endpoints
from domain.events import EVENT
from persistence.outbox import SHARDS, Shard
from persistence.publisher import Publisher
from persistence.relay import publish_batch
from persistence.write import Change, record
from tests.integration.persistence.relaying import (
    assert_topic_tells_the_table,
    read_topic,
    relay_here,
    relay_process,
    sessions_of,
    until_published,
    write_orders,
)
from tests.integration.persistence.stories import received
from tests.support import kcat
from tests.support.topics import Topics
from tests.support.waiting import until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_batch_is_published_in_order_and_deleted(
    db: asyncpg.Pool, db_url: str, endpoints: Endpoints, topics: Topics
) -> None:
    await write_orders(db, [f"A-{n}" for n in range(40)])
    for number in range(SHARDS):
        async with Shard.hold(db_url, number) as shard:
            publisher = await Publisher.start(endpoints.kafka_bootstrap, topics.events, number)
            try:
                while await publish_batch(shard, publisher, limit=7):
                    pass
            finally:
                await publisher.stop()
    assert await db.fetchval("select count(*) from outbox") == 0
    records = await read_topic(endpoints.kafka_bootstrap, topics.events)
    await assert_topic_tells_the_table(db, records, repeats=False)


async def test_an_event_is_a_cloudevent_in_binary_mode(
    db: asyncpg.Pool, db_url: str, endpoints: Endpoints, topics: Topics
) -> None:
    start = received("A-1", "start-1")
    await record(db, Change("A-1", "received", start.data, "start-1", traceparent=TRACE))
    async with relay_here(db_url, endpoints.kafka_bootstrap, topics.events):
        await until_published(db)
    (one,) = await read_topic(endpoints.kafka_bootstrap, topics.events)
    headers = dict(one.headers)
    read = from_binary_event(KafkaMessage(headers=headers, key=one.key, value=one.value))
    value = EVENT.validate_json(one.value)
    assert read.get_specversion() == "1.0"
    assert read.get_id() == "A-1-1"
    assert read.get_type() == "order.received" == value.type
    assert read.get_source() == "urn:order-lifecycle:orders"
    assert read.get_subject() == "A-1"
    assert read.get_time() == value.at
    assert read.get_dataschema() == "urn:order-lifecycle:event:order.received"
    assert read.get_datacontenttype() == "application/json"
    assert read.get_data() == json.loads(one.value)
    assert headers["traceparent"] == TRACE.encode()
    assert one.timestamp == int(value.at.timestamp() * 1000)
    assert value.command_id == "start-1"


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
async def test_kcat_shows_an_event_without_headers_and_type_first(
    db: asyncpg.Pool, db_url: str, endpoints: Endpoints, topics: Topics
) -> None:
    await record(db, received("A-1"))
    async with relay_here(db_url, endpoints.kafka_bootstrap, topics.events):
        await until_published(db)
    (line,) = await kcat.read(endpoints.kafka_bootstrap, topics.events)
    assert line.startswith('{"type":"order.received","order_id":"A-1","sequence":1,"at":"')
    headers = await kcat.shell(
        f"kcat -C -e -q -b {endpoints.kafka_bootstrap} -t {topics.events} -f '%k %h'"
    )
    assert headers.startswith("A-1 ce_specversion=1.0,ce_type=order.received,")


async def test_a_relay_is_woken_by_a_write_and_not_by_its_slow_poll(
    db: asyncpg.Pool,
    db_url: str,
    endpoints: Endpoints,
    topics: Topics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("persistence.relay.POLL_SECONDS", 600)
    async with relay_here(db_url, endpoints.kafka_bootstrap, topics.events):
        await write_orders(db, [f"A-{n}" for n in range(8)], events=1)
        await until_published(db)
        for _ in range(5):  # the relay sleeps by now, or is about to
            await write_orders(db, [f"A-{n}" for n in range(8)], events=1)
            await until_published(db)


async def test_a_producer_is_replaced_before_the_broker_forgets_its_name(
    db: asyncpg.Pool,
    db_url: str,
    endpoints: Endpoints,
    topics: Topics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("persistence.publisher.RENEW_SECONDS", 0.2)
    started: list[int] = []
    start = Publisher.start

    async def noting(bootstrap: str, topic: str, shard: int, batch_bytes: int) -> Publisher:
        started.append(shard)
        return await start(bootstrap, topic, shard, batch_bytes)

    monkeypatch.setattr(Publisher, "start", noting)

    async def is_replaced() -> bool:
        await write_orders(db, [f"A-{n}" for n in range(8)], events=1)
        return all(started.count(shard) > 2 for shard in range(SHARDS))

    async with relay_here(db_url, endpoints.kafka_bootstrap, topics.events):
        await until(is_replaced)
        await until_published(db)
    records = await read_topic(endpoints.kafka_bootstrap, topics.events)
    await assert_topic_tells_the_table(db, records, repeats=False)


async def test_two_relays_share_the_shards_and_one_takes_all_when_the_other_is_killed(
    db: asyncpg.Pool, db_url: str, endpoints: Endpoints, topics: Topics, tmp_path: Path
) -> None:
    there = (db_url, endpoints.kafka_bootstrap, topics.events)
    async with (
        relay_process(*there, tmp_path / "first") as first,
        relay_process(*there, tmp_path / "second") as second,
    ):
        half = SHARDS // 2 + 1  # a session for each shard, and one to announce itself

        async def is_shared() -> bool:
            return sessions_of(first.pid, db_url) == half == sessions_of(second.pid, db_url)

        await until(is_shared)
        await write_orders(db, [f"A-{n}" for n in range(40)])
        await until_published(db)
        await first.kill()
        await write_orders(db, [f"A-{n}" for n in range(40)])
        await until_published(db)
        assert sessions_of(second.pid, db_url) == SHARDS + 1
    records = await read_topic(endpoints.kafka_bootstrap, topics.events)
    await assert_topic_tells_the_table(db, records, repeats=True)


async def test_a_relay_that_is_asked_to_end_leaves_nothing_behind(
    db: asyncpg.Pool, db_url: str, endpoints: Endpoints, topics: Topics, tmp_path: Path
) -> None:
    async with relay_process(
        db_url, endpoints.kafka_bootstrap, topics.events, tmp_path / "log"
    ) as child:
        await write_orders(db, [f"A-{n}" for n in range(40)])
        await until_published(db)
        await child.terminate(30)
        assert child.returncode == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert "never" not in (tmp_path / "log").read_text()  # retrieved, awaited
    left = "select count(*) from pg_stat_activity where application_name like 'orders-relay%'"
    assert await db.fetchval(f"{left} and datname = current_database()") == 0
    records = await read_topic(endpoints.kafka_bootstrap, topics.events)
    await assert_topic_tells_the_table(db, records, repeats=False)
