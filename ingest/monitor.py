"""``/ready`` and ``/metrics`` of the ingest process, on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import prometheus_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingest.consumer import CommandConsumer
from ingest.web import WebServer, listening

HOST: Final = "127.0.0.1"
GRACE_SECONDS: Final = 5
PAUSE_REASONS: Final = ("Kafka", "Temporal", "PostgreSQL", "admission", "busy")


@asynccontextmanager
async def serving(commands: CommandConsumer, port: int, stop: asyncio.Event) -> AsyncIterator[None]:
    """Answer as long as the block runs; port 0: do nothing. A server that dies sets ``stop``.

    Raises ``OrderError`` when the port is taken.
    """
    if port == 0:
        yield
        return
    with listening(HOST, port, "set METRICS_PORT or make it 0") as sock:
        server = WebServer(_app(commands), GRACE_SECONDS)
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
