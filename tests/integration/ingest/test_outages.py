"""A server is away: ingest says so once, loses nothing, dead-letters nothing, goes on by itself."""

import uuid
from collections.abc import MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from structlog.testing import capture_logs

from devstack import Server, Stack
from ingest.settings import Settings
from persistence.queries import orders_in_motion, outcomes_of
from tests.integration.ingest.conftest import OwnServers
from tests.integration.ingest.harness import Commands, approve, commanding, running, start
from tests.support.waiting import until

Logs = list[MutableMapping[str, Any]]


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


async def _said(logs: Logs, event: str, server: str) -> Logs:
    return [entry for entry in logs if entry["event"] == event and entry["server"] == server]


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
            await until(lambda: _said(logs, "waiting", server))
            await _bring_back(_server(own_servers.stack, name), how)
            await until(lambda: _said(logs, "back", server))
            sent += await commands.send(start(f"F-{run}-last"))
            await _each_has_one_outcome(commands, sent)
            await commands.all_committed()
            assert await commands.dead_letters() == {}
            await until(
                lambda: _nothing_moves(own_db)
            )  # or the next test's starts would wait for it
    # A thawed server may time out again before it has caught up; never a line for each retry.
    assert len(await _said(logs, "waiting", server)) <= (1 if how == "killed" else 3)


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
                    await until(lambda: _said(logs, "waiting", "PostgreSQL"))
            finally:
                await _bring_back(postgres, "frozen")
            assert await commands.lag() == len(sent)
            async with running(own_settings, "ingest", "worker"):
                await _each_has_one_outcome(commands, sent)
                await commands.all_committed()


async def _nothing_moves(db: asyncpg.Pool) -> bool:
    moving, _ = await orders_in_motion(db, timedelta(0), timedelta(0))
    return moving == 0


async def _each_has_one_outcome(commands: Commands, sent: list[str]) -> None:
    async def all_are_there() -> bool:
        return len(await outcomes_of(commands.db, sent)) == len(sent)

    await until(all_are_there, patience=180)


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
