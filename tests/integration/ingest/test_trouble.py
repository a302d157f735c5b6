"""A server is slow or answers errors: nothing is lost, nothing becomes a dead letter for it."""

import uuid
from datetime import timedelta
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from google.protobuf.duration_pb2 import Duration
from structlog.testing import capture_logs
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest

from ingest.settings import Settings
from orchestration.temporal_client import connect
from tests.chaos.links import Link, Mode
from tests.integration.ingest.conftest import OwnServers
from tests.integration.ingest.harness import (
    approve,
    cancel,
    commanding,
    running,
    said,
    start,
)
from tests.support.waiting import until

DELAY = 0.3
"""Every packet comes so many seconds late: some fifty times what these servers take."""


def _over_links(settings: Settings, links: dict[str, Link]) -> Settings:
    url = urlsplit(settings.db_url)
    netloc = url.netloc.replace(f":{url.port}", f":{links['postgres'].port}")
    return settings.model_copy(
        update={
            "temporal_host": "127.0.0.1",
            "temporal_port": links["temporal"].port,
            "db_url": url._replace(netloc=netloc).geturl(),
            "kafka_bootstrap_servers": f"127.0.0.1:{links['kafka'].port}",
        }
    )


@pytest.mark.parametrize("slow", ["temporal", "postgres", "kafka"])
async def test_a_slow_server_makes_ingest_slow_and_nothing_else(
    slow: str, own_servers: OwnServers, own_settings: Settings, own_db: asyncpg.Pool
) -> None:
    run = uuid.uuid4().hex[:8]
    with capture_logs() as logs:
        async with running(own_settings, "worker"), commanding(own_settings, own_db) as commands:
            async with running(_over_links(own_settings, own_servers.links), "ingest"):
                own_servers.links[slow].set(Mode.SLOW, DELAY)
                sent = await commands.send(*(start(f"S-{run}-{n}") for n in range(20)))
                sent += await commands.send(*(approve(f"S-{run}-{n}") for n in range(20)))
                await commands.send_raw(b"junk")
                await commands.each_has_one_outcome(sent)
                await commands.all_committed()
                own_servers.links[slow].set(Mode.PASS)
            assert len(await commands.dead_letters()) == 1
    assert not [entry for entry in logs if entry["event"] == "waiting"]


async def test_temporal_that_refuses_every_call_is_waited_for(
    own_settings: Settings, own_db: asyncpg.Pool
) -> None:
    """Its answer is an error, not silence: the namespace is not there yet."""
    run = uuid.uuid4().hex[:8]
    own_settings = own_settings.model_copy(update={"temporal_namespace": f"later-{run}"})
    with capture_logs() as logs:
        async with running(own_settings, "ingest"), commanding(own_settings, own_db) as commands:
            # Signals first: a start would wait for admission, and what is behind it with it.
            sent = await commands.send(*(approve(f"E-{run}-{n}") for n in range(10)))
            sent += await commands.send(*(start(f"E-{run}-{n}") for n in range(10)))
            await until(lambda: said(logs, "waiting", "Temporal"))
            client = await connect(
                own_settings.temporal_host, own_settings.temporal_port, "default"
            )
            retention = Duration(seconds=int(timedelta(days=1).total_seconds()))
            await client.workflow_service.register_namespace(
                RegisterNamespaceRequest(
                    namespace=own_settings.temporal_namespace,
                    workflow_execution_retention_period=retention,
                )
            )
            await commands.all_committed()
            async with running(own_settings, "worker"):
                await commands.each_has_one_outcome(sent)
            assert await commands.dead_letters() == {}
    assert len(await said(logs, "waiting", "Temporal")) == 1


async def test_postgresql_that_refuses_connections_is_waited_for(
    own_settings: Settings, own_db: asyncpg.Pool
) -> None:
    run = uuid.uuid4().hex[:8]
    url = urlsplit(own_settings.db_url)
    name = url.path.strip("/")
    outside = await asyncpg.connect(url._replace(path="/postgres").geturl())
    try:
        with capture_logs() as logs:
            async with (
                running(own_settings, "ingest"),
                commanding(own_settings, own_db) as commands,
            ):
                await outside.execute(f'alter database "{name}" allow_connections false')
                await outside.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1",
                    name,
                )
                sent = await commands.send(*(cancel(f"Q-{run}-{n}") for n in range(10)))
                sent += await commands.send(*(start(f"Q-{run}-{n}") for n in range(10)))
                await until(lambda: said(logs, "waiting", "PostgreSQL"))
                await outside.execute(f'alter database "{name}" allow_connections true')
                async with running(own_settings, "worker"):
                    await commands.each_has_one_outcome(sent)
                await commands.all_committed()
                assert await commands.dead_letters() == {}
    finally:
        await outside.execute(f'alter database "{name}" allow_connections true')
        await outside.close()
    assert len(await said(logs, "waiting", "PostgreSQL")) == 1


async def test_a_broker_that_takes_no_dead_letters_holds_up_only_what_is_one(
    own_settings: Settings, own_db: asyncpg.Pool
) -> None:
    run = uuid.uuid4().hex[:8]
    with capture_logs() as logs:
        async with (
            running(own_settings, "ingest", "worker"),
            commanding(own_settings, own_db) as commands,
        ):
            await commands.send_raw(b"what the producer's sequence numbers begin with", partition=0)
            await commands.all_committed()
            await _limit_dead_letters(own_settings, 1)
            await commands.send_raw(b"junk", partition=0)
            sent = await commands.send(*(start(f"B-{run}-{n}") for n in range(4)), partition=0)
            await commands.each_has_one_outcome(sent)
            await until(lambda: said(logs, "waiting", "Kafka"))
            assert await commands.lag() == 5, "the lowest unfinished offset is that of the junk"
            await _limit_dead_letters(own_settings, 1_048_588)
            await commands.all_committed()
            assert len(await commands.dead_letters()) == 2
    assert len(await said(logs, "waiting", "Kafka")) == 1


async def _limit_dead_letters(settings: Settings, size: int) -> None:
    """Have the broker answer MESSAGE_TOO_LARGE to all that is larger."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        configs = {"max.message.bytes": str(size)}
        resource = ConfigResource(ConfigResourceType.TOPIC, settings.dead_letter_topic, configs)
        await admin.alter_configs([resource])
    finally:
        await admin.close()
