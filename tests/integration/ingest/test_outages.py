"""A server is away: ingest says so once, loses nothing, dead-letters nothing, goes on by itself."""

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from structlog.testing import capture_logs

from devstack import Server, Stack, free_port
from ingest.consumer import POLL_RECORDS
from ingest.lanes import Bounds
from ingest.settings import Settings
from persistence.queries import orders_in_motion
from tests.integration.ingest.conftest import OwnServers
from tests.integration.ingest.harness import approve, commanding, running, said, start
from tests.support.waiting import until


def _server(stack: Stack, name: str) -> Server:
    server: Server = getattr(stack, name)
    return server


async def _take_away(server: Server, how: str) -> None:
    if how == "killed":
        await server.kill()
        return
    for process in _family(server):
        process.suspend()


async def _bring_back(server: Server, how: str) -> None:
    if how == "killed":
        await server.restart()
        return
    for process in _family(server):
        process.resume()


def _family(server: Server) -> list[psutil.Process]:
    """A server with its children: PostgreSQL serves each connection from one of its own."""
    parent = psutil.Process(server.pid)
    return [parent, *parent.children(recursive=True)]


@pytest.mark.chaos
@pytest.mark.parametrize("how", ["killed", "frozen"])
@pytest.mark.parametrize(("name", "server"), [("temporal", "Temporal"), ("postgres", "PostgreSQL")])
async def test_a_minute_without_a_server_costs_neither_memory_nor_membership(
    name: str,
    server: str,
    how: str,
    own_servers: OwnServers,
    own_settings: Settings,
    own_db: asyncpg.Pool,
) -> None:
    """More commands than may be in memory come meanwhile, for orders that have ended."""
    run, port = uuid.uuid4().hex[:8], free_port()
    order_ids = [f"G-{run}-{n}" for n in range(10)]
    own_settings = own_settings.model_copy(update={"metrics_port": port})
    with capture_logs() as logs:
        async with (
            running(own_settings, "ingest", "worker"),
            commanding(own_settings, own_db) as commands,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        ):
            await commands.send(*map(start, order_ids))
            for order_id in order_ids:
                await commands.story(order_id, "order.shipped")
            before = await _rebalances(client)
            await _take_away(_server(own_servers.stack, name), how)
            late = [approve(order_ids[n % 10]) for n in range(Bounds().held + 2 * POLL_RECORDS)]
            sent = await commands.send(*late, partition=0)
            await until(lambda: said(logs, "waiting", server))
            for _ in range(60):
                held = (await client.get("/ready")).json()["held"]
                assert held < Bounds().held + POLL_RECORDS
                await asyncio.sleep(1)
            assert held >= Bounds().held
            await _bring_back(_server(own_servers.stack, name), how)
            await commands.each_has_one_outcome(sent)
            await commands.all_committed()
            assert await _rebalances(client) == before
            assert await commands.dead_letters() == {}
    assert len(await said(logs, "waiting", server)) <= (1 if how == "killed" else 3)


@pytest.mark.chaos
@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_minute_without_kafka_is_waited_for(
    how: str, own_servers: OwnServers, own_settings: Settings, own_db: asyncpg.Pool
) -> None:
    run, port = uuid.uuid4().hex[:8], free_port()
    own_settings = own_settings.model_copy(update={"metrics_port": port})
    with capture_logs() as logs:
        async with (
            running(own_settings, "ingest", "worker"),
            commanding(own_settings, own_db) as commands,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        ):
            sent = await commands.send(*(start(f"K-{run}-{n}") for n in range(20)))
            await _take_away(own_servers.stack.kafka, how)
            await until(lambda: said(logs, "waiting", "Kafka"))
            for _ in range(60):
                waits_for = (await client.get("/ready")).json()["waits_for"]
                assert [entry["server"] for entry in waits_for] == ["Kafka"]
                await asyncio.sleep(1)
            await _bring_back(own_servers.stack.kafka, how)
            await until(lambda: said(logs, "back", "Kafka"))
            sent += await commands.send(*(start(f"K-{run}-{n}") for n in range(20, 40)))
            await commands.each_has_one_outcome(sent)
            await commands.all_committed()
            assert await commands.dead_letters() == {}
    assert len(await said(logs, "waiting", "Kafka")) <= (1 if how == "killed" else 3)


async def _rebalances(client: httpx.AsyncClient) -> str:
    lines = (await client.get("/metrics")).text.splitlines()
    (line,) = [line for line in lines if line.startswith("orders_ingest_rebalances_total")]
    return line


@pytest.mark.parametrize("how", ["killed", "frozen"])
@pytest.mark.parametrize(
    ("name", "server"), [("temporal", "Temporal"), ("postgres", "PostgreSQL"), ("kafka", "Kafka")]
)
async def test_a_server_that_is_away_costs_waiting_and_nothing_else(
    name: str,
    server: str,
    how: str,
    own_servers: OwnServers,
    own_settings: Settings,
    own_db: asyncpg.Pool,
) -> None:
    run = uuid.uuid4().hex[:8]
    with capture_logs() as logs:
        async with (
            running(own_settings, "ingest", "worker"),
            commanding(own_settings, own_db) as commands,
        ):
            sent = await commands.send(*(start(f"F-{run}-{n}") for n in range(10)))
            await _take_away(_server(own_servers.stack, name), how)
            if name != "kafka":
                sent += await commands.send(*(start(f"F-{run}-{n}") for n in range(10, 40)))
                sent += await commands.send(*(approve(f"F-{run}-{n}") for n in range(40)))
            await until(lambda: said(logs, "waiting", server))
            await _bring_back(_server(own_servers.stack, name), how)
            await until(lambda: said(logs, "back", server))
            sent += await commands.send(start(f"F-{run}-last"))
            await commands.each_has_one_outcome(sent)
            await commands.all_committed()
            assert await commands.dead_letters() == {}
            await until(
                lambda: _nothing_moves(own_db)
            )  # or the next test's starts would wait for it
    # A thawed server may time out again before it has caught up; never a line for each retry.
    assert len(await said(logs, "waiting", server)) <= (1 if how == "killed" else 3)


async def test_ingest_ends_while_postgresql_is_frozen_and_its_successor_does_the_rest(
    own_servers: OwnServers, own_settings: Settings, own_db: asyncpg.Pool
) -> None:
    """What hangs in a server that does not even refuse is not waited for without end."""
    run, postgres = uuid.uuid4().hex[:8], own_servers.stack.postgres
    own_settings = own_settings.model_copy(update={"early_command_ttl_seconds": 1})
    with capture_logs() as logs:
        async with commanding(own_settings, own_db) as commands:
            try:
                async with running(own_settings, "ingest"):
                    await _take_away(postgres, "frozen")
                    sent = await commands.send(*(approve(f"D-{run}-{n}") for n in range(20)))
                    await until(lambda: said(logs, "waiting", "PostgreSQL"))
            finally:
                await _bring_back(postgres, "frozen")
            assert await commands.lag() == len(sent)
            async with running(own_settings, "ingest", "worker"):
                await commands.each_has_one_outcome(sent)
                await commands.all_committed()


async def _nothing_moves(db: asyncpg.Pool) -> bool:
    moving, _ = await orders_in_motion(db, timedelta(0), timedelta(0))
    return moving == 0


async def test_a_role_that_finds_no_server_says_in_one_line_what_to_do(
    own_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ingest import program

    monkeypatch.setattr(program, "STARTUP_SECONDS", 1.0)
    monkeypatch.chdir(tmp_path)
    nowhere = {"db_url": "postgresql://x@127.0.0.1:1/x"}, {"temporal_port": 1}
    for change in (*nowhere, {"kafka_bootstrap_servers": "127.0.0.1:1"}):
        with pytest.raises(program.CannotStart, match=r"does not answer .*: start it .* or set"):
            async with running(own_settings.model_copy(update=change), "ingest"):
                pass
