"""When aiokafka cannot go on, the process ends, and its successor finds every record."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import UnsupportedCodecError

from devstack import free_port
from ingest import header_keys, roles, watch
from ingest.consumer import POLL_RECORDS, make_consumer
from ingest.decode import Record, decode
from ingest.settings import Settings
from ingest.watch import CannotConsume
from orchestration.contract import CommandMessage
from persistence.queries import history
from tests.integration.ingest.conftest import MakeSettings
from tests.integration.ingest.harness import Commands, running, start
from tests.support.kcat import needs_kcat, shell
from tests.support.waiting import until

RUN = uuid.uuid4().hex[:8]


async def _why_it_ends(settings: Settings) -> str:
    with pytest.RaisesGroup(pytest.RaisesExc(CannotConsume)) as why:
        async with asyncio.timeout(90):
            await roles.ingest(settings, asyncio.Event(), lambda: None)
    return str(why.value.exceptions[0])


def _without_codecs(batch: Any) -> Iterator[Any]:
    """What aiokafka does where the library of a codec is not installed."""
    if batch.compression_type:
        raise UnsupportedCodecError("no such codec")
    yield from batch._batch


@needs_kcat
async def test_a_batch_that_cannot_be_unpacked_loses_nothing_of_the_others(
    commands: Commands, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, topic = commands.settings.kafka_bootstrap_servers, commands.settings.commands_topic
    sent = []
    for partition in range(4):
        orders = [start(f"U-{partition}-{n}-{RUN}") for n in range(5)]
        sent += await commands.send(*orders, partition=partition)
    # kcat sends as it is what compression would not make smaller.
    await shell(f"printf %2000s hello | kcat -P -z snappy -b {kafka} -t {topic} -p 2")
    sent += await commands.send(start(f"U-last-{RUN}"), partition=2)
    with monkeypatch.context() as without:
        without.setattr(header_keys._Batch, "__iter__", _without_codecs)
        assert "no such codec" in await _why_it_ends(make_settings())
    async with running(make_settings(), "ingest", "worker"):
        for command_id in sent:
            await commands.outcome(command_id)


def _broken(how: Callable[[AIOKafkaConsumer], None]) -> Callable[[str, str], AIOKafkaConsumer]:
    """Make consumers to which ``how`` is done once they have started."""

    def make(bootstrap_servers: str, group_id: str) -> AIOKafkaConsumer:
        consumer = make_consumer(bootstrap_servers, group_id)
        begin = consumer.start

        async def start_broken() -> None:
            await begin()
            how(consumer)

        consumer.start = start_broken
        return consumer

    return make


async def test_a_consumer_whose_group_loop_has_died_is_found(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise AssertionError("as aiokafka asserts here and there")

    def die(consumer: AIOKafkaConsumer) -> None:
        consumer._coordinator.ensure_coordinator_known = fail

    monkeypatch.setattr(roles, "make_consumer", _broken(die))
    assert "has given up" in await _why_it_ends(make_settings())


async def test_a_consumer_that_has_stopped_fetching_without_a_word_is_found(
    commands: Commands, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sent,) = await commands.send(start(f"S-1-{RUN}"))
    with monkeypatch.context() as broken:
        broken.setattr(
            roles, "make_consumer", _broken(lambda consumer: consumer._fetcher._fetch_task.cancel())
        )
        broken.setattr(watch, "STALLED_LOOKS", 2)
        assert "nothing is fetched any more" in await _why_it_ends(make_settings())
    async with running(make_settings(), "ingest", "worker"):
        await commands.outcome(sent)


async def test_a_consumer_that_never_gets_back_into_its_group_is_found(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written, and nothing fails: only that there is no assignment can be seen."""

    async def in_vain(_subscription: object) -> bool:
        await asyncio.sleep(0.1)
        return False

    def thrown_out(consumer: AIOKafkaConsumer) -> None:
        coordinator = consumer._coordinator
        joined = coordinator._on_join_complete

        async def joined_for_the_last_time(*result: Any) -> None:
            await joined(*result)
            coordinator._do_rejoin_group = in_vain
            coordinator.request_rejoin()

        coordinator._on_join_complete = joined_for_the_last_time

    monkeypatch.setattr(roles, "make_consumer", _broken(thrown_out))
    monkeypatch.setattr(watch, "STALLED_LOOKS", 2)
    assert "not back in the group" in await _why_it_ends(make_settings())


async def test_many_records_at_once_leave_everything_else_its_turn(
    commands: Commands, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred that cost a tenth of a second each would keep the group waiting for a heartbeat."""
    turn, taken = 0, Counter[int]()

    def decode_and_count(record: Record) -> CommandMessage:
        taken[turn] += 1
        return decode(record)

    async def take_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr("ingest.consumer.decode", decode_and_count)
    topic = commands.settings.commands_topic
    for _ in range(20 * POLL_RECORDS):
        await commands.producer.send(topic, b"junk", partition=0)
    await commands.producer.flush()
    turns = asyncio.create_task(take_turns())
    async with running(make_settings(), "ingest"):
        await commands.all_committed()
    turns.cancel()
    assert taken.total() == 20 * POLL_RECORDS
    assert max(taken.values()) <= POLL_RECORDS


async def test_records_of_an_aborted_transaction_are_no_commands(
    commands: Commands, make_settings: MakeSettings
) -> None:
    """Markers and aborted records have offsets, too: neither lag nor commits may stop at them."""
    port = free_port()
    async with (
        running(make_settings(metrics_port=port), "ingest", "worker"),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        await _transaction(commands, f"X-kept-{RUN}", abort=False)
        await _transaction(commands, f"X-dropped-{RUN}", abort=True)
        await commands.send(start(f"X-last-{RUN}"), partition=1)
        for order_id in (f"X-kept-{RUN}", f"X-last-{RUN}"):
            await commands.story(order_id, "order.shipped")
        await _transaction(commands, f"X-dropped-too-{RUN}", abort=True)

        async def caught_up() -> bool:
            lag: dict[str, int] = (await client.get("/ready")).json()["lag"]
            return len(lag) == 4 and not any(lag.values())

        await until(caught_up)
    for order_id in (f"X-dropped-{RUN}", f"X-dropped-too-{RUN}"):
        assert await history(commands.db, order_id) == []
    assert await commands.dead_letters() == {}


async def _transaction(commands: Commands, order_id: str, *, abort: bool) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=commands.settings.kafka_bootstrap_servers,
        transactional_id=f"tests-{order_id}",
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(
            commands.settings.commands_topic,
            json.dumps(start(order_id)).encode(),
            order_id.encode(),
            partition=1,
        )
        await (producer.abort_transaction() if abort else producer.commit_transaction())
    finally:
        await producer.stop()
