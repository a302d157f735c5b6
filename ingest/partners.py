"""The role ``partners``: simulated partners over HTTP, where the settings look for them."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

import uvicorn

from domain.errors import OrderError
from ingest.program import Ready
from ingest.settings import Settings
from orchestration import gateways
from orchestration.gateways.server import create_app

GRACE_SECONDS: Final = 1
"""A call that hangs on purpose is not waited for."""


async def serve(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Answer until ``stop``. Raises ``OrderError`` when an address is taken or not of here."""
    faults = gateways.Faults(settings.simulated_faults)
    seed = settings.simulated_seed or os.getpid()
    with ExitStack() as listening:
        sockets = [listening.enter_context(_listen(*at)) for at in _addresses(settings)]
        async with gateways.simulated(settings.db_url, faults, seed) as partners:
            config = uvicorn.Config(
                create_app(partners),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
            server = _Server(config)
            serving = asyncio.create_task(server.serve(sockets=sockets))
            stopping = asyncio.create_task(stop.wait())
            ready()
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            stopping.cancel()
            await serving


class _Server(uvicorn.Server):
    """Leaves signals to the role."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _addresses(settings: Settings) -> set[tuple[str, int]]:
    urls = (
        settings.sales_url,
        settings.screening_url,
        settings.payments_url,
        settings.warehouse_url,
        settings.carrier_url,
    )
    return {(urlsplit(url).hostname or "", urlsplit(url).port or 80) for url in urls}


def _listen(host: str, port: int) -> socket.socket:
    if host not in ("localhost", "127.0.0.1"):
        raise OrderError(f"{host} is not this machine: simulated partners serve localhost only")
    try:
        return socket.create_server(("127.0.0.1", port), backlog=512)
    except OSError as error:
        text = f"cannot listen on {host}:{port} ({error.strerror}): set SALES_URL and the like"
        raise OrderError(text) from error
