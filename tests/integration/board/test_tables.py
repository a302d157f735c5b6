"""The Faust tables against a fold over the whole topic, whatever happened in between."""

import asyncio
import contextlib
import json
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from board import follow
from board.fold import View
from board.follow import Follower, Status
from board.record import Record
from board.rows import encode, key_of
from board.tables import Tables
from devstack import Endpoints
from tests.support.topics import Topics
from tests.support.waiting import until
from tests.unit.board.test_fold import event

PATIENCE = 300
INSTANCE = "one"

STORIES = (
    ("received", "validated", "payment_charged", "shipped"),
    ("received", "validated", "review_requested", "approved", "payment_charged", "shipped"),
    ("received", "validated", "review_requested", "rejected"),
    ("received", "validated", "failed"),
    ("received", "cancelled", "command_rejected"),
    ("received", "validated"),
    ("command_rejected",),
)


def made_up_events(orders: int, seed: int) -> list[tuple[bytes | None, bytes | None]]:
    """Return key and value of many events of mixed orders, repeats and broken ones among them."""
    dice = random.Random(seed)
    running = [
        [(f"S{seed}-{n}", kind, number) for number, kind in enumerate(dice.choice(STORIES), 1)]
        for n in range(orders)
    ]
    made: list[tuple[bytes | None, bytes | None]] = []
    while running:
        story = dice.choice(running[:200])
        order_id, kind, number = story.pop(0)
        if not story:
            running.remove(story)
        seconds = len(made) * 0.2 + dice.random()
        value = json.dumps(event(order_id, number, kind, seconds)).encode()
        made.append((order_id.encode(), value))
        if dice.random() < 0.05:
            made.append(dice.choice(made[-300:]))
        if dice.random() < 0.02:
            made.append(
                dice.choice(
                    [
                        (order_id.encode(), value[: len(value) // 2]),
                        (None, value),
                        (b"somebody-else", value),
                        (order_id.encode(), None),
                        (b"\xff\xfe", b"\xff\xfe"),
                    ]
                )
            )
    return made


async def publish(
    endpoints: Endpoints, topic: str, made: list[tuple[bytes | None, bytes | None]]
) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=endpoints.kafka_bootstrap, enable_idempotence=True
    )
    await producer.start()
    try:
        sent = [await producer.send(topic, value, key=key) for key, value in made]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def fold_whole_topic(endpoints: Endpoints, topic: str) -> dict[bytes, bytes]:
    """Read the topic from its beginning, fold it, return the rows as they stand in a table."""
    consumer = AIOKafkaConsumer(bootstrap_servers=endpoints.kafka_bootstrap, group_id=None)
    await consumer.start()
    rows: dict[bytes, bytes] = {}
    try:
        for partition in sorted(await partitions_of(consumer, topic)):
            tp = TopicPartition(topic, partition)
            consumer.assign([tp])
            await consumer.seek_to_beginning(tp)
            end = (await consumer.end_offsets([tp]))[tp]
            view = View(partition)
            while await consumer.position(tp) < end:
                for r in (await consumer.getmany(tp, timeout_ms=500)).get(tp, []):
                    record = Record(r.partition, r.offset, r.timestamp, r.key, r.value)
                    for key, row in view.apply(record):
                        if row is None:
                            rows.pop(key)
                        else:
                            rows[key] = encode(row)
    finally:
        await consumer.stop()
    return rows


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client.add_topic(topic)
    return set(consumer.partitions_for_topic(topic) or ())


@contextlib.asynccontextmanager
async def following(
    endpoints: Endpoints, topic: str, instance: str = INSTANCE
) -> AsyncIterator[Follower]:
    follower = Follower(endpoints.kafka_bootstrap, topic, instance)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def caught_up(follower: Follower) -> None:
    """Wait until the tables hold everything that stands on the topic now, while they go on."""
    status = follower.status
    while not (status.complete and status.behind == 0):

        async def moved(before: Status = status) -> bool:
            return follower.status != before

        try:
            await until(moved, patience=PATIENCE)
        except AssertionError:
            pytest.fail(f"it stands still: {status}, {follower.restarts} restarts")
        status = follower.status


def differences(
    rows: dict[bytes, bytes], expected: dict[bytes, bytes]
) -> dict[bytes, tuple[bytes | None, bytes | None]]:
    """Return what is in a row and what should be, where the two are not the same."""
    return {
        key: (rows.get(key), expected.get(key))
        for key in rows.keys() | expected.keys()
        if rows.get(key) != expected.get(key)
    }


async def assert_same(follower: Follower, endpoints: Endpoints, topic: str) -> None:
    """The Faust table, and the views the page reads, are those of a fold over the whole topic."""
    expected = await fold_whole_topic(endpoints, topic)

    async def same() -> bool:
        return follower.rows() == expected

    with contextlib.suppress(AssertionError):  # what differs says more
        await until(same, patience=PATIENCE, every=0.5)
    assert differences(follower.rows(), expected) == {}
    views = {
        key_of(view.partition, row): encode(row)
        for view in follower.views.values()
        for row in view.rows()
    }
    assert differences({key: row for key, row in views.items() if key in expected}, expected) == {}


async def delete_changelog(endpoints: Endpoints, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=endpoints.kafka_bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([Tables.changelog_of(f"board-{INSTANCE}-{topic}")])
    finally:
        await admin.close()


async def test_after_20_000_events_a_restart_and_a_lost_store_the_tables_are_the_whole_fold(
    endpoints: Endpoints, topics: Topics
) -> None:
    made = made_up_events(6_000, seed=1)
    assert len(made) > 20_000
    await publish(endpoints, topics.events, made[:12_000])
    async with following(endpoints, topics.events) as first:
        await caught_up(first)
        await publish(endpoints, topics.events, made[12_000:15_000])
        await assert_same(first, endpoints, topics.events)
        totals = [view.tally for view in first.views.values()]
        assert sum(tally.broken for tally in totals) > 100
        assert sum(tally.repeats for tally in totals) > 300
    await publish(endpoints, topics.events, made[15_000:])
    async with following(endpoints, topics.events) as restarted:
        await caught_up(restarted)
        await assert_same(restarted, endpoints, topics.events)
        assert restarted.restarts == 0
    await delete_changelog(endpoints, topics.events)
    async with following(endpoints, topics.events) as bereft:
        await caught_up(bereft)
        await assert_same(bereft, endpoints, topics.events)


PROCESS = """
import asyncio, sys
from board.follow import Follower

asyncio.run(Follower(*sys.argv[1:]).run())
"""


async def test_killed_at_any_moment_while_it_works_it_goes_on_without_loss(
    endpoints: Endpoints, topics: Topics
) -> None:
    await publish(endpoints, topics.events, made_up_events(600, seed=2))
    for moment in (0.05, 0.4, 1.1):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROCESS,
            endpoints.kafka_bootstrap,
            topics.events,
            INSTANCE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await until(lambda: changelog_has_grown(endpoints, topics.events), patience=PATIENCE)
            await asyncio.sleep(moment)
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        await publish(endpoints, topics.events, made_up_events(100, seed=int(moment * 100)))
    async with following(endpoints, topics.events) as survivor:
        await caught_up(survivor)
        # At once: from here on it shows figures.
        expected = await fold_whole_topic(endpoints, topics.events)
        assert differences(survivor.rows(), expected) == {}
        await assert_same(survivor, endpoints, topics.events)
        assert survivor.restarts == 0


async def test_nothing_is_read_before_the_seek_however_long_that_takes(
    endpoints: Endpoints, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    seek = AIOKafkaConsumerThread.seek_wait

    async def slow_seek(thread: AIOKafkaConsumerThread, partitions: Mapping[TP, int]) -> None:
        await asyncio.sleep(0.3)
        await seek(thread, partitions)
        await asyncio.sleep(0.3)

    monkeypatch.setattr(AIOKafkaConsumerThread, "seek_wait", slow_seek)
    made = made_up_events(300, seed=6)
    for part in (made[:400], made[400:]):
        await publish(endpoints, topics.events, part)
        async with following(endpoints, topics.events) as follower:
            await caught_up(follower)
            await assert_same(follower, endpoints, topics.events)
            assert follower.restarts == 0


async def test_tables_that_stand_still_are_started_again(
    endpoints: Endpoints, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> dict[TP, list[object]]:
        await asyncio.sleep(0.1)
        return {}

    await publish(endpoints, topics.events, made_up_events(20, seed=7))
    with monkeypatch.context() as while_it_stands:
        while_it_stands.setattr(AIOKafkaConsumerThread, "_fetch_records", nothing)
        while_it_stands.setattr(follow, "STALLED_LOOKS", 4)
        async with following(endpoints, topics.events) as follower:

            async def restarted() -> bool:
                return follower.restarts > 0

            await until(restarted, patience=PATIENCE)
            while_it_stands.undo()
            await caught_up(follower)
            await assert_same(follower, endpoints, topics.events)


_seen: dict[str, int] = {}


async def changelog_has_grown(endpoints: Endpoints, topic: str) -> bool:
    """Whether the changelog has more records than when it was last asked with this answer."""
    changelog = Tables.changelog_of(f"board-{INSTANCE}-{topic}")
    consumer = AIOKafkaConsumer(bootstrap_servers=endpoints.kafka_bootstrap, group_id=None)
    await consumer.start()
    try:
        if changelog not in await consumer.topics():
            return False
        await consumer._client.add_topic(changelog)
        tps = [TopicPartition(changelog, p) for p in await partitions_of(consumer, changelog)]
        total = sum((await consumer.end_offsets(tps)).values())
    finally:
        await consumer.stop()
    if total > _seen.get(topic, 0):
        _seen[topic] = total
        return True
    return False


async def test_a_changelog_of_another_life_of_the_topic_is_dropped(
    endpoints: Endpoints, topics: Topics
) -> None:
    """The topic is made anew, shorter than before; the old rows must not stay."""
    await publish(endpoints, topics.events, made_up_events(100, seed=3))
    async with following(endpoints, topics.events) as first:
        await caught_up(first)
    await recreate(endpoints, topics.events)
    await publish(endpoints, topics.events, made_up_events(5, seed=4))
    async with following(endpoints, topics.events) as second:

        async def rebuilt() -> bool:
            return second.restarts > 0 and second.status.complete

        await until(rebuilt, patience=120)
        await assert_same(second, endpoints, topics.events)


async def recreate(endpoints: Endpoints, topic: str) -> None:
    from aiokafka.admin import NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=endpoints.kafka_bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])

        async def created() -> bool:
            answer: Any = await admin.create_topics([NewTopic(topic, 4, 1)])
            return bool(answer.topic_errors[0][1] == 0)

        await until(created)
    finally:
        await admin.close()


async def test_until_the_topic_exists_the_status_says_so(
    endpoints: Endpoints, unique: Callable[[str], str]
) -> None:
    async with following(endpoints, unique("nothing")) as follower:

        async def told() -> bool:
            return "does not exist" in (follower.status.problem or "")

        await until(told)
        assert not follower.status.complete


async def test_two_boards_of_one_name_do_not_show_half_of_the_orders_each(
    endpoints: Endpoints, topics: Topics
) -> None:
    await publish(endpoints, topics.events, made_up_events(20, seed=5))
    async with following(endpoints, topics.events) as one:
        await caught_up(one)
        async with following(endpoints, topics.events) as other:

            async def told() -> bool:
                return all("another board" in (f.status.problem or "") for f in (one, other))

            await until(told, patience=120)
            assert not one.status.complete
            assert not other.status.complete
        await caught_up(one)
        await assert_same(one, endpoints, topics.events)
