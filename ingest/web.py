"""HTTP inside a role: the role keeps the signals, and a taken port is one clear line."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from domain.errors import OrderError

BACKLOG: Final = 2048


class WebServer(uvicorn.Server):
    """uvicorn without its own signals and logs.

    ``ready`` is called once, when it listens. Open requests are waited for up to
    ``grace_seconds`` after ``should_exit`` is set.
    """

    def __init__(
        self, app: ASGIApp, grace_seconds: int, ready: Callable[[], None] = lambda: None
    ) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=grace_seconds,
            server_header=False,
            proxy_headers=False,
        )
        super().__init__(config)
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the role, which ends this server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on ``sockets``, then tell that it does."""
        await super().startup(sockets)
        if self.started:
            self._ready()


@contextmanager
def listening(host: str, port: int, remedy: str) -> Iterator[socket.socket]:
    """Give a socket that listens; ``OrderError`` with ``remedy`` when the address is taken."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        text = f"cannot listen on {host}:{port} ({error.strerror}): {remedy}"
        raise OrderError(text) from error
    with sock:
        yield sock
