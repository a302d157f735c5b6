"""The role ``partners``: simulated partners over HTTP, where the settings look for them."""

import asyncio
import socket
from contextlib import AbstractContextManager, ExitStack
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from domain.errors import OrderError
from ingest.program import Ready
from ingest.settings import Settings
from ingest.simulation import simulated_partners
from ingest.web import WebServer, listening
from orchestration.gateways.server import create_app

log = structlog.get_logger(__name__)

GRACE_SECONDS: Final = 1
"""A call that hangs on purpose is not waited for."""


async def serve(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Answer until ``stop``. Raises ``OrderError`` when an address is taken or not of here."""
    with ExitStack() as listeners:
        addresses = _addresses(settings)
        sockets = [listeners.enter_context(_listen(*at)) for at in addresses]
        async with simulated_partners(settings) as partners:
            server = WebServer(_hangs_up(create_app(partners)), GRACE_SECONDS, ready)
            log.info("partners answer", at=sorted({f"{host}:{port}" for host, port in addresses}))
            serving = asyncio.create_task(server.serve(sockets=sockets))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            stopping.cancel()
            await serving


def _hangs_up(app: ASGIApp) -> ASGIApp:
    """Let a call that still hangs when its time is up end like one of a partner that goes down."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            await Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)(scope, receive, send)

    return answer


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
