"""When aiokafka cannot go on, the process ends, and its successor finds every record."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import UnsupportedCodecError

from ingest import header_keys, roles
from ingest.consumer import CannotConsume, make_consumer
from ingest.settings import Settings
from tests.integration.ingest.conftest import MakeSettings
from tests.integration.ingest.harness import Commands, running, start
from tests.support.kcat import needs_kcat, shell

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
