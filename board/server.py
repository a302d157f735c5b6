"""The board as a process: tables, watch and page in one event loop."""

import asyncio
import contextlib
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from nicegui import ui

from board.figures import Shared
from board.follow import Follower, Stuck
from board.pages import register
from board.pages.context import Board
from board.rest import Rest, Watch
from domain.errors import OrderError

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 3


@dataclass(frozen=True, slots=True)
class BoardSettings:
    """What the board needs to know; it reads no environment."""

    kafka_bootstrap_servers: str
    events_topic: str
    api_url: str
    temporal_ui_url: str
    port: int
    host: str = "127.0.0.1"


async def run_board(
    settings: BoardSettings, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serve the board until ``stop``; then finish and return.

    ``ready`` is called when the page answers, which is before the tables are complete: it says
    "catching up" until then. Starts without Kafka and API and finds them when they come. Raises
    ``OrderError`` when the port is taken.
    """
    with _listening(settings.host, settings.port) as sock:
        # Nobody else has this name while the port is held, which a frozen process does, too.
        instance = f"{socket.gethostname()}-{settings.port}"
        follower = Follower(
            settings.kafka_bootstrap_servers, settings.events_topic, topic_name(instance)
        )
        rest = Rest(settings.api_url)
        shared = Shared(lambda: follower.views.values())  # noqa: PLW0108  # new ones after a restart
        board = Board(follower, shared, rest, Watch(rest), settings.temporal_ui_url)
        server = _Server(_config(board), ready)
        tasks = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("page", server.serve(sockets=[sock])),
                ("stop", _wait(stop)),
                ("follow", follower.run()),
                ("watch", board.watch.run()),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await tasks[0]
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await rest.close()
            if stuck := next((error for error in ended if isinstance(error, Stuck)), None):
                _leave(stuck, 0 if stop.is_set() else 1)


def _leave(stuck: Stuck, code: int) -> None:
    """End the process although a part of it does not: the tables may die at any moment."""
    log.warning("%s; the process ends all the same", stuck)
    logging.shutdown()
    os._exit(code)


def topic_name(text: str) -> str:
    """Return ``text`` as a part of a Kafka topic's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[-80:]


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


def _config(board: Board) -> uvicorn.Config:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_views(app, board)
    register(board)
    ui.run_with(
        app,
        title="Orders",
        favicon="📦",
        dark=None,
        language="en-US",
        show_welcome_message=False,
        binding_refresh_interval=None,
        reconnect_timeout=10.0,
    )
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _add_views(app: FastAPI, board: Board) -> None:
    """The figures for programs: 503 until the tables are complete."""

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        return _answer(board, {"status": "ready", "behind": board.follower.status.behind})

    @app.get("/figures")
    async def figures() -> JSONResponse:
        return _answer(board, board.shared.figures() if board.follower.status.complete else None)

    @app.get("/table/{order_id}")
    async def order(order_id: str) -> JSONResponse:
        found = board.find(order_id)
        if board.follower.status.complete and found is None:
            return JSONResponse({"detail": f"order {order_id} is not on the board"}, 404)
        return _answer(board, found)


def _answer(board: Board, content: Any) -> JSONResponse:  # noqa: ANN401  # what FastAPI encodes
    from fastapi.encoders import jsonable_encoder

    status = board.follower.status
    if status.complete:
        return JSONResponse(jsonable_encoder(content))
    body = {
        "detail": status.problem or f"catching up: {status.done} of {status.total} records",
        "done": status.done,
        "total": status.total,
    }
    return JSONResponse(body, 503, {"Retry-After": "2"})


class _Server(uvicorn.Server):
    """Leaves signals to the role, and tells when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    # Faust and its Kafka client tell every step of every rebalance.
    for name in ("faust", "mode", "aiokafka", "board.tables"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        sock = socket.create_server((host, port))
    except OSError as error:
        raise OrderError(
            f"cannot listen on {host}:{port} ({error.strerror}): set BOARD_PORT"
        ) from error
    with sock:
        yield sock
