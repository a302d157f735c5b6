"""A server is away: ingest says so once, loses nothing, dead-letters nothing, goes on by itself."""

import uuid
from collections.abc import AsyncIterator, Callable, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from structlog.testing import capture_logs

from devstack import Endpoints, Ports, Server, Stack
from ingest.settings import Settings
from ingest.topics import create_topics
from persistence.migrate import migrate
from persistence.pool import open_pool
from persistence.queries import orders_in_motion, outcomes_of
from tests.integration.ingest.harness import Commands, approve, commanding, running, start
from tests.support.waiting import until

Logs = list[MutableMapping[str, Any]]


@pytest.fixture(scope="module")
async def fragile(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Servers that these tests may kill; they keep their data."""
    async with Stack(tmp_path_factory.mktemp("fragile"), Ports.free(), print) as stack:
        await migrate(stack.endpoints.db_url)
        yield stack


@pytest.fixture
async def settings(fragile: Stack, unique: Callable[[str], str]) -> Settings:
    endpoints: Endpoints = fragile.endpoints
    values = {name.lower(): value for name, value in endpoints.as_env().items()}
    names = ("commands_topic", "events_topic", "dead_letter_topic", "order_task_queue")
    for name in (*names, "shipping_task_queue", "kafka_group_id"):
        values[name] = unique(name.replace("_", "-"))[:99]
    topics = (values["commands_topic"], values["events_topic"], values["dead_letter_topic"])
    await create_topics(endpoints.kafka_bootstrap, *topics)
    return Settings.model_validate(values)


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(settings.db_url, "tests", size=4)
    yield pool
    await pool.close()


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
    name: str, server: str, how: str, fragile: Stack, settings: Settings, db: asyncpg.Pool
) -> None:
    run = uuid.uuid4().hex[:8]
    with capture_logs() as logs:
        async with running(settings, "ingest", "worker"), commanding(settings, db) as commands:
            sent = await commands.send(*(start(f"F-{run}-{n}") for n in range(10)))
            await _take_away(_server(fragile, name), how)
            if name != "kafka":
                sent += await commands.send(*(start(f"F-{run}-{n}") for n in range(10, 40)))
                sent += await commands.send(*(approve(f"F-{run}-{n}") for n in range(40)))
            await until(lambda: _said(logs, "waiting", server))
            await _bring_back(_server(fragile, name), how)
            await until(lambda: _said(logs, "back", server))
            sent += await commands.send(start(f"F-{run}-last"))
            await _each_has_one_outcome(commands, sent)
            await commands.all_committed()
            assert await commands.dead_letters() == {}
            await until(lambda: _nothing_moves(db))  # or the next test's starts would wait for it
    # A thawed server may time out again before it has caught up; never a line for each retry.
    assert len(await _said(logs, "waiting", server)) <= (1 if how == "killed" else 3)


async def _nothing_moves(db: asyncpg.Pool) -> bool:
    moving, _ = await orders_in_motion(db, timedelta(0), timedelta(0))
    return moving == 0


async def _each_has_one_outcome(commands: Commands, sent: list[str]) -> None:
    async def all_are_there() -> bool:
        return len(await outcomes_of(commands.db, sent)) == len(sent)

    await until(all_are_there, patience=180)


async def test_a_role_that_finds_no_server_says_in_one_line_what_to_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ingest import program

    monkeypatch.setattr(program, "STARTUP_SECONDS", 1.0)
    monkeypatch.chdir(tmp_path)
    nowhere = {"db_url": "postgresql://x@127.0.0.1:1/x"}, {"temporal_port": 1}
    for change in (*nowhere, {"kafka_bootstrap_servers": "127.0.0.1:1"}):
        with pytest.raises(program.CannotStart, match=r"does not answer .*: start it .* or set"):
            async with running(settings.model_copy(update=change), "ingest"):
                pass
