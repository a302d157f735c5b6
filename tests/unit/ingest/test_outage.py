"""A server that is away costs waiting; a call that alone keeps failing holds up nobody."""

import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from domain.errors import Unavailable
from ingest import outage
from ingest.outage import Outage
from tests.support.waiting import until

Logs = list[EventDict]


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(outage, "LONGEST_WAIT_SECONDS", 0.002)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as logs:
        yield logs


class FakeServer:
    """Answers or not, and counts who asks at the same time."""

    def __init__(self) -> None:
        self.up = False
        self.tries = self.asking = self.most_asking = 0

    async def ask(self) -> str:
        self.tries += 1
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        await asyncio.sleep(0)
        self.asking -= 1
        if not self.up:
            raise Unavailable("down")
        return "answer"


async def _tries(server: FakeServer, count: int) -> None:
    async def enough() -> bool:
        return server.tries >= count

    await until(enough)


async def _is_away(of: Outage) -> bool:
    return of.away


async def test_while_a_server_is_away_one_caller_at_a_time_tries_again(logs: Logs) -> None:
    server, of = FakeServer(), Outage("X")
    calls = [asyncio.create_task(of.outlast(server.ask)) for _ in range(20)]
    await _tries(server, 20)
    server.most_asking = 0
    await _tries(server, server.tries + 20)
    assert server.most_asking == 1
    server.up = True
    assert await asyncio.gather(*calls) == ["answer"] * 20
    assert not of.away
    assert [entry["event"] for entry in logs] == ["waiting", "back"]


async def test_a_call_that_alone_keeps_failing_holds_up_nobody_and_is_said_once(
    logs: Logs,
) -> None:
    """As an order would whose part of Temporal's history cannot be reached."""
    of, tries, ended = Outage("X"), 0, asyncio.Event()

    async def stuck() -> None:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0.001)
        if not ended.is_set():
            raise Unavailable("this one only")

    async def good() -> None:
        await asyncio.sleep(0)

    async def others() -> None:
        while tries < 30:
            await of.outlast(good)

    call = asyncio.create_task(of.outlast(stuck, about={"order_id": "A-1"}))
    await others()
    assert not of.away
    ended.set()
    await call
    assert [entry["event"] for entry in logs] == ["one call keeps failing"]
    assert logs[0]["order_id"] == "A-1"


async def test_a_new_call_is_tried_at_once_however_long_others_have_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, of = FakeServer(), Outage("X")
    monkeypatch.setattr(outage, "FIRST_WAIT_SECONDS", 3600)
    monkeypatch.setattr(outage, "LONGEST_WAIT_SECONDS", 3600)
    waiting = asyncio.create_task(of.outlast(server.ask))
    await until(lambda: _is_away(of))
    server.up = True
    assert await of.outlast(server.ask) == "answer"
    assert not await _is_away(of)
    waiting.cancel()


async def test_what_fails_on_is_not_said_again_because_something_else_succeeds(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = Outage("X")
    for _ in range(5):
        of.went_away("cannot commit")
        of.answered()
    assert of.away
    monkeypatch.setattr(outage, "QUIET_SECONDS", -1)
    of.answered()
    assert [entry["event"] for entry in logs] == ["waiting", "back"]
