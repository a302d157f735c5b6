"""The role ``partners``: simulated partners over HTTP, where the settings look for them."""

import asyncio
import socket
from contextlib import AbstractContextManager, ExitStack
from typing import Final
from urllib.parse import urlsplit

from domain.errors import OrderError
from ingest.program import Ready
from ingest.settings import Settings
from ingest.simulation import simulated_partners
from ingest.web import WebServer, listening
from orchestration.gateways.server import create_app

GRACE_SECONDS: Final = 1
"""A call that hangs on purpose is not waited for."""


async def serve(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Answer until ``stop``. Raises ``OrderError`` when an address is taken or not of here."""
    with ExitStack() as listeners:
        sockets = [listeners.enter_context(_listen(*at)) for at in _addresses(settings)]
        async with simulated_partners(settings) as partners:
            server = WebServer(create_app(partners), GRACE_SECONDS, ready)
            serving = asyncio.create_task(server.serve(sockets=sockets))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            stopping.cancel()
            await serving


def _addresses(settings: Settings) -> set[tuple[str, int]]:
    urls = (
        settings.sales_url,
        settings.screening_url,
        settings.payments_url,
        settings.warehouse_url,
        settings.carrier_url,
    )
    return {(urlsplit(url).hostname or "", urlsplit(url).port or 80) for url in urls}


def _listen(host: str, port: int) -> AbstractContextManager[socket.socket]:
    if host not in ("localhost", "127.0.0.1"):
        raise OrderError(f"{host} is not this machine: simulated partners serve localhost only")
    return listening("127.0.0.1", port, "set SALES_URL and the like")
