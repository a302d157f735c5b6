"""PostgreSQL or the broker goes away in the middle of work and comes back."""

import asyncio
from collections.abc import Iterator
from functools import partial

import asyncpg
import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from structlog.testing import LogCapture

from devstack import Endpoints
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from domain import events as e
from domain.errors import Unavailable
from ingest.topics import create_topics
from persistence.migrate import migrate
from persistence.pool import lease, open_pool
from persistence.queries import history
from persistence.relay import run_relay
from persistence.set_aside import list_set_aside
from persistence.write import Change, record
from tests.integration.persistence.relaying import (
    assert_topic_tells_the_table,
    by_order,
    read_topic,
    relay_here,
    until_published,
    write_orders,
)
from tests.integration.persistence.stories import received
from tests.support.topics import Topics
from tests.support.waiting import until

ORDERS = [f"A-{n}" for n in range(20)]


@pytest.fixture
def said() -> Iterator[LogCapture]:
    """What was logged."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[capture])
    yield capture
    structlog.configure(**before)


@pytest.mark.chaos
async def test_postgres_killed_under_load_loses_nothing_and_all_go_on(
    own_postgres: Postgres, endpoints: Endpoints, topics: Topics, said: LogCapture
) -> None:
    await migrate(url_of(own_postgres))
    db = await open_pool(url_of(own_postgres), application_name="tests", size=8)
    kills_are_over = asyncio.Event()
    acknowledged: dict[str, list[int]] = {}
    refused = e.CommandRejected(command_type="cancel", reason="no")

    async def write(order_id: str) -> None:
        """Write on and on as a worker would: repeat whatever is unavailable."""
        written = acknowledged.setdefault(order_id, [])
        while not kills_are_over.is_set() or len(written) < 10:
            key = f"c{len(written)}"
            change = Change(order_id, key, refused, key) if written else received(order_id)
            try:
                async with lease(db) as conn:
                    written.append((await record(conn, change)).sequence)
            except Unavailable:
                await asyncio.sleep(0.1)

    async with relay_here(url_of(own_postgres), endpoints.kafka_bootstrap, topics.events):
        writers = [asyncio.create_task(write(order_id)) for order_id in ORDERS]
        for kill in range(1, 3):
            await until(partial(counted, acknowledged, 100 * kill))
            await own_postgres.kill()
            await asyncio.sleep(0.5)
            await own_postgres.start()
        kills_are_over.set()
        await asyncio.gather(*writers)
        await until_published(db)
    for order_id, sequences in acknowledged.items():
        # Each write has the next number: none was lost, none was done twice.
        assert sequences == list(range(1, len(sequences) + 1))
        assert len(await history(db, order_id)) == len(sequences)
    records = await read_topic(endpoints.kafka_bootstrap, topics.events)
    await assert_topic_tells_the_table(db, records, repeats=True)
    assert {"event": "waiting for PostgreSQL", "log_level": "warning"}.items() <= next(
        entry for entry in said.entries if "waiting" in entry["event"]
    ).items()
    await db.close()


def url_of(postgres: Postgres) -> str:
    return f"postgresql://orders@{postgres.where}/orders"


async def counted(acknowledged: dict[str, list[int]], enough: int) -> bool:
    return sum(map(len, acknowledged.values())) >= enough


@pytest.mark.chaos
async def test_the_backlog_waits_for_the_broker_and_then_drains(
    db: asyncpg.Pool, db_url: str, own_kafka: Kafka, topics: Topics, said: LogCapture
) -> None:
    await create_topics(own_kafka.where, topics.commands, topics.events, topics.dead_letters)
    async with relay_here(db_url, own_kafka.where, topics.events):
        await write_orders(db, ORDERS)
        await until_published(db)
        await own_kafka.kill()
        await write_orders(db, ORDERS)
        await until(lambda: is_said(said, "waiting for Kafka"))
        assert await db.fetchval("select count(*) from outbox") == 3 * len(ORDERS)
        await own_kafka.start()
        await until_published(db)
        await until(lambda: is_said(said, "Kafka is back"))
    assert [entry["event"] for entry in said.entries].count("waiting for Kafka") == 1
    await assert_topic_tells_the_table(
        db, await read_topic(own_kafka.where, topics.events), repeats=True
    )


async def is_said(said: LogCapture, text: str) -> bool:
    return any(entry["event"] == text for entry in said.entries)


@pytest.mark.chaos
async def test_a_relay_ends_cleanly_while_the_broker_is_away(
    db: asyncpg.Pool, db_url: str, own_kafka: Kafka, topics: Topics, said: LogCapture
) -> None:
    await create_topics(own_kafka.where, topics.commands, topics.events, topics.dead_letters)
    stop = asyncio.Event()
    relay = asyncio.create_task(run_relay(db_url, own_kafka.where, topics.events, stop=stop))
    await write_orders(db, ORDERS)
    await until_published(db)
    await own_kafka.kill()
    await write_orders(db, ORDERS)
    await until(lambda: is_said(said, "waiting for Kafka"))
    before = asyncio.all_tasks() - {relay}
    stop.set()
    await asyncio.wait_for(relay, 60)
    assert asyncio.all_tasks() <= before
    assert await db.fetchval("select count(*) from outbox") == 3 * len(ORDERS)


async def test_a_relay_started_without_servers_waits_for_them_and_can_be_ended(
    said: LogCapture,
) -> None:
    stop = asyncio.Event()
    nowhere = "127.0.0.1:1"
    relay = asyncio.create_task(run_relay(f"postgresql://x@{nowhere}/x", nowhere, "t", stop=stop))
    await until(lambda: is_said(said, "waiting for PostgreSQL"))
    stop.set()
    await asyncio.wait_for(relay, 60)


async def test_an_event_too_large_for_the_broker_is_set_aside_and_blocks_no_other_order(
    db: asyncpg.Pool, db_url: str, endpoints: Endpoints, topics: Topics, said: LogCapture
) -> None:
    await write_orders(db, ORDERS)
    await enlarge(db, "A-0", 2, 5_000_000)
    async with relay_here(db_url, endpoints.kafka_bootstrap, topics.events):
        await until_published(db)
        await write_orders(db, ORDERS)
        await until_published(db)
        seen = by_order(await read_topic(endpoints.kafka_bootstrap, topics.events))
        assert [event.sequence for event in seen["A-0"]] == [1]
        assert {len(seen[order_id]) for order_id in ORDERS[1:]} == {6}
        aside = await db.fetch("select sequence, reason from outbox_set_aside order by id")
        assert [row["sequence"] for row in aside] == [2, 3, 4, 5, 6]
        assert "MessageSizeTooLarge" in aside[0]["reason"]
        assert "earlier event" in aside[1]["reason"]
        assert await is_said(said, "event set aside: too large for the broker")
        (listed,) = await list_set_aside(db)
        assert (listed.order_id, listed.first_sequence, listed.events) == ("A-0", 2, 5)
        assert listed.reason == aside[0]["reason"]
        # Mended by hand, the order goes on where it stopped.
        await enlarge(db, "A-0", 2, 0)
        assert await db.fetchval("select release_set_aside('A-0')") == 5
        await until_published(db)
    records = await read_topic(endpoints.kafka_bootstrap, topics.events)
    await assert_topic_tells_the_table(db, records, repeats=False)


async def enlarge(db: asyncpg.Pool, order_id: str, sequence: int, size: int) -> None:
    """Blow up an event in the outbox; JSON does not mind the space."""
    for table in ("outbox", "outbox_set_aside"):
        await db.execute(
            f"""
            update {table} set payload = (rtrim(payload::text) || repeat(' ', $3))::json
            where aggregateid = $1 and sequence = $2
            """,  # noqa: S608
            order_id,
            sequence,
            size,
        )


async def set_max_message_bytes(bootstrap: str, topic: str, size: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})]
        )
    finally:
        await admin.close()


async def test_a_topic_that_takes_only_small_batches_gets_small_batches(
    db: asyncpg.Pool, db_url: str, endpoints: Endpoints, topics: Topics
) -> None:
    await set_max_message_bytes(endpoints.kafka_bootstrap, topics.events, 2_000)
    await write_orders(db, ORDERS, events=10)
    async with relay_here(db_url, endpoints.kafka_bootstrap, topics.events):
        await until_published(db)
    assert await db.fetchval("select count(*) from outbox_set_aside") == 0
    records = await read_topic(endpoints.kafka_bootstrap, topics.events)
    await assert_topic_tells_the_table(db, records, repeats=True)


async def test_prepared_statements_survive_a_restart_of_postgres(own_postgres: Postgres) -> None:
    await migrate(url_of(own_postgres))
    db = await open_pool(url_of(own_postgres), application_name="tests", size=3)
    try:
        order_id = f"P-{own_postgres.pid}"
        for number in range(3):
            await asyncio.gather(*(write_orders(db, [f"{order_id}-{n}"]) for n in range(6)))
            await own_postgres.restart()
            for _ in range(3):  # a connection that died is noticed at its next use at the latest
                try:
                    await record(db, received(f"{order_id}-x{number}"))
                    break
                except Unavailable:
                    continue
            else:
                pytest.fail("the pool did not recover")
    finally:
        await db.close()
