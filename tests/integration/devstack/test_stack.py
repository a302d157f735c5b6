"""Three real servers: they answer, they keep their data, and their death is noticed."""

import asyncio
import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Awaitable, Callable
from contextlib import closing

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from devstack import InUse, Ports, Server, Stack, StartFailed, temporal_cli


async def send(stack: Stack, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=stack.endpoints.kafka_bootstrap, max_request_size=4 * 1024 * 1024
    )
    async with producer:
        await producer.send_and_wait(topic, value)


async def create_topic(stack: Stack, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.endpoints.kafka_bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(topic, 1, 1)])
        assert [code for _, code, *_ in answer.topic_errors] == [0]
    finally:
        await admin.close()


async def read(stack: Stack, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.endpoints.kafka_bootstrap,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    consumer.assign([TopicPartition(topic, 0)])
    async with consumer, asyncio.timeout(60):
        return [(await consumer.getone()).value for _ in range(count)]


async def query(stack: Stack, sql: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(stack.endpoints.db_url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def temporal(stack: Stack, *arguments: str) -> str:
    address = f"{stack.endpoints.temporal_host}:{stack.endpoints.temporal_port}"
    argv = [str(temporal_cli(print)), *arguments, "--address", address]
    answer = await asyncio.to_thread(
        subprocess.run, argv, capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


async def die(server: Server) -> None:
    """As the kernel would end it: this process has no part in it."""
    os.kill(server.pid, signal.SIGKILL)


async def kill(server: Server) -> None:
    await server.kill()


async def stop(server: Server) -> None:
    await server.stop()


async def test_each_server_is_reported_with_its_address_when_it_is_ready(
    victim: Stack, said: list[str]
) -> None:
    for server in (victim.kafka, victim.temporal, victim.postgres):
        assert any(
            line.startswith(f"{server.name} ready after") and line.endswith(f":{server.port}")
            for line in said
        ), said


async def test_a_record_of_a_mebibyte_and_more_passes(victim: Stack) -> None:
    topic, value = f"big-{uuid.uuid4().hex}", os.urandom(1024 * 1024 + 200_000)
    await create_topic(victim, topic)
    await send(victim, topic, value)
    assert await read(victim, topic, 1) == [value]


async def test_a_topic_nobody_created_does_not_appear(victim: Stack) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=victim.endpoints.kafka_bootstrap)
    await admin.start()
    try:
        await admin.describe_topics(["misspelt"])
        assert "misspelt" not in await admin.list_topics()
    finally:
        await admin.close()


@pytest.mark.parametrize("end", [stop, kill, die])
async def test_data_survives_every_end_and_a_new_start_on_the_same_ports(
    victim: Stack, end: Callable[[Server], Awaitable[None]]
) -> None:
    name = f"n{uuid.uuid4().hex}"
    await create_topic(victim, name)
    await send(victim, name, b"one")
    await query(victim, f"CREATE TABLE {name} AS SELECT 1 AS one")
    started = ["workflow", "start", "--type", "None", "--task-queue", name, "--workflow-id", name]
    await temporal(victim, *started)

    servers = (victim.kafka, victim.temporal, victim.postgres)
    for server in servers:
        await end(server)
    if end is die:
        assert {(await victim.wait_failed()).split()[0] for _ in servers} == {
            "kafka",
            "temporal",
            "postgres",
        }
    for server in servers:
        assert not server.running
    await asyncio.gather(*(server.start() for server in servers))

    await send(victim, name, b"two")
    assert await read(victim, name, 2) == [b"one", b"two"]
    assert await query(victim, f"TABLE {name}") == [(1,)]
    assert name in await temporal(victim, "workflow", "describe", "--workflow-id", name)


async def test_a_death_is_told_with_exit_code_and_log(victim: Stack) -> None:
    pid = victim.temporal.pid
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        obituary = await victim.wait_failed()
    assert f"temporal (pid {pid}) ended unexpectedly with exit code -9" in obituary
    assert str(victim.temporal.log) in obituary
    await victim.temporal.start()


async def test_a_second_stack_in_the_same_directory_is_told_who_is_there(victim: Stack) -> None:
    with pytest.raises(InUse, match=f"process {os.getpid()} uses .*kill {os.getpid()}"):
        async with Stack(victim.directory, Ports.free(), print):
            pass


async def test_every_server_listens_on_loopback_only(victim: Stack) -> None:
    for server in (victim.kafka, victim.temporal, victim.postgres):
        sockets = psutil.Process(server.pid).net_connections("tcp")
        listening = [sock.laddr for sock in sockets if sock.status == psutil.CONN_LISTEN]
        assert server.port in {address.port for address in listening}
        assert {address.ip for address in listening} <= {"127.0.0.1", "::ffff:127.0.0.1"}


async def test_a_port_that_is_taken_after_it_was_chosen_is_named(victim: Stack) -> None:
    with closing(socket.socket()) as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        await victim.temporal.stop()
        taken, victim.temporal.ui_port = victim.temporal.ui_port, port
        try:
            with pytest.raises(StartFailed, match=f"temporal cannot start: port {port} was taken"):
                await victim.temporal.start()
        finally:
            victim.temporal.ui_port = taken
            await victim.temporal.start()
