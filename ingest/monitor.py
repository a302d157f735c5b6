"""``/ready`` and ``/metrics`` of the ingest process, on loopback."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import prometheus_client
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from domain.errors import OrderError
from ingest.consumer import CommandConsumer

HOST: Final = "127.0.0.1"
PAUSE_REASONS: Final = ("Kafka", "Temporal", "PostgreSQL", "admission", "busy")


@asynccontextmanager
async def serving(commands: CommandConsumer, port: int, stop: asyncio.Event) -> AsyncIterator[None]:
    """Answer as long as the block runs; port 0: do nothing. A server that dies sets ``stop``.

    Raises ``OrderError`` when the port is taken.
    """
    if port == 0:
        yield
        return
    with _listening(port) as sock:
        server = _Server(
            uvicorn.Config(_app(commands), log_config=None, access_log=False, lifespan="off")
        )
        task = asyncio.create_task(server.serve(sockets=[sock]))
        task.add_done_callback(lambda _: stop.set())
        try:
            yield
        finally:
            server.should_exit = True
            await task


def describe(commands: CommandConsumer) -> dict[str, Any]:
    """Return what the process does and what it waits for; ``ready``: it does its work."""
    away = [outage for outage in commands.outages if outage.away]
    return {
        "ready": commands.joined and not away,
        "waits_for": [
            {
                "server": outage.name,
                "seconds": round(time.monotonic() - (outage.since or 0), 1),
                "reason": outage.reason,
            }
            for outage in away
        ],
        "commands": commands.metrics.outcomes(),
        "lag": commands.watch.lag,
        "in_flight": commands.lanes.running,
        "held": commands.lanes.held,
        "lanes": commands.lanes.count,
        "paused_partitions": sorted(tp.partition for tp in commands.paused),
        "pause_reason": _pause_reason(commands),
        "waiting_starts": commands.lanes.waiting_starts,
        "orders_in_motion": commands.admission.in_motion,
        "starts_no_worker_has_received": commands.admission.unreceived,
    }


def measure(commands: CommandConsumer) -> None:
    """Set the gauges to how things stand."""
    metrics, lanes = commands.metrics, commands.lanes
    metrics.lag.clear()
    for partition, lag in commands.watch.lag.items():
        metrics.lag.labels(partition).set(lag)
    metrics.in_flight.set(lanes.running)
    metrics.held.set(lanes.held)
    metrics.lanes.set(lanes.count)
    metrics.waiting_starts.set(lanes.waiting_starts)
    metrics.in_motion.set(commands.admission.in_motion)
    metrics.unreceived.set(commands.admission.unreceived)
    for outage in commands.outages:
        metrics.away.labels(outage.name).set(outage.away)
    for reason in PAUSE_REASONS:
        is_it = reason == _pause_reason(commands)
        metrics.paused.labels(reason).set(len(commands.paused) if is_it else 0)


def _pause_reason(commands: CommandConsumer) -> str | None:
    if not commands.paused:
        return None
    if away := [outage.name for outage in commands.outages if outage.away]:
        return away[0]
    return "admission" if commands.lanes.waiting_starts else "busy"


def _app(commands: CommandConsumer) -> Starlette:
    async def ready(_: Request) -> Response:
        state = describe(commands)
        return JSONResponse(state, 200 if state["ready"] else 503)

    async def metrics(_: Request) -> Response:
        measure(commands)
        text = prometheus_client.generate_latest(commands.metrics.registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/ready", ready), Route("/metrics", metrics)])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the role, which ends this server."""
        yield


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    try:
        sock = socket.create_server((HOST, port))
    except OSError as error:
        text = f"cannot listen on {HOST}:{port} ({error.strerror}): set METRICS_PORT or make it 0"
        raise OrderError(text) from error
    with sock:
        yield sock
