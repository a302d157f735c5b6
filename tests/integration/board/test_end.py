"""The board's process ends on SIGTERM at any moment: nothing that it waits for may hold it up."""

import asyncio
import contextlib
import signal
from pathlib import Path

import httpx
import pytest

from devstack import free_port
from devstack.kafka import Kafka
from ingest.processes import Role
from tests.integration.board.test_broker_away import TOPIC, create_topic, endpoints_of
from tests.integration.board.test_tables import made_up_events, publish
from tests.support.waiting import until

PATIENCE = 60
MOMENTS = (0.0, 0.1, 0.3, 0.6, 1.0, 1.5, 2.5)


class Board:
    """A board's process and what its page answers."""

    def __init__(self, kafka: Kafka, log: Path) -> None:
        self.port = free_port()
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.where,
            "EVENTS_TOPIC": TOPIC,
            "BOARD_PORT": str(self.port),
            "API_URL": f"http://localhost:{free_port()}",
        }
        self.role = Role("board", environment, log, print)

    async def complete(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            async with httpx.AsyncClient(trust_env=False) as http:
                answer = await http.get(f"http://localhost:{self.port}/ready")
                return answer.status_code == 200
        return False

    async def end(self) -> int:
        """Send SIGTERM; return the exit code."""
        child = self.role._running()
        child.signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            return await child.wait()


@pytest.fixture
async def filled(kafka: Kafka) -> Kafka:
    await create_topic(kafka)
    await publish(endpoints_of(kafka), TOPIC, made_up_events(500, seed=21))
    return kafka


@pytest.mark.chaos
async def test_sigterm_ends_it_at_any_moment_of_its_start(filled: Kafka, tmp_path: Path) -> None:
    for moment in MOMENTS:
        board = Board(filled, tmp_path / "board.log")
        await board.role.start()
        await asyncio.sleep(moment)
        assert await board.end() == 0, moment
    assert "Traceback" not in (tmp_path / "board.log").read_text()


@pytest.mark.chaos
async def test_sigterm_ends_it_while_the_broker_is_away_and_rows_wait_to_be_written(
    filled: Kafka, tmp_path: Path
) -> None:
    board = Board(filled, tmp_path / "board.log")
    await board.role.start()
    await until(board.complete, patience=PATIENCE)
    endpoints = endpoints_of(filled)
    await publish(endpoints, TOPIC, made_up_events(2_000, seed=22))
    await filled.kill()
    await asyncio.sleep(1)
    assert await board.end() == 0
