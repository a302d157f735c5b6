"""Whether the process lives, whether its servers answer, and its numbers."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import asyncpg
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from domain.errors import OrderError, Unavailable
from ingest.api.parts import Parts, PartsOf, within
from orchestration.temporal_client import check_health
from persistence.queries import unpublished_for
from persistence.set_aside import count_set_aside
from persistence.version import check_version

CHECK_SECONDS: Final = 2.0

router = APIRouter(tags=["operation"])


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Dependency(BaseModel):
    """One server; `needed`: without it the API cannot do its work."""

    ok: bool
    needed: bool
    seconds: float
    error: Annotated[str | None, Field(description="what is wrong")] = None


class Readiness(BaseModel):
    """Whether the API can do its work."""

    status: Literal["ready", "degraded", "not ready"]
    dependencies: dict[str, Dependency]


@router.get("/health", summary="Alive?", response_description="It lives")
async def health() -> Health:
    """Answer as long as the process lives, whatever its servers do."""
    return Health()


@router.get(
    "/ready",
    summary="Ready?",
    response_description="Every server that is needed answers",
    responses={503: {"model": Readiness, "description": "A needed server does not answer"}},
)
async def ready(parts: PartsOf, response: Response) -> Readiness:
    """Ask each server.

    Without Temporal the API is degraded only: commands wait safely in Kafka, and reads go on.
    """
    checks = {
        "postgresql": (True, lambda: check_version(parts.pool)),
        "kafka": (True, parts.publisher.check),
        "temporal": (False, lambda: _temporal(parts)),
    }
    found = await asyncio.gather(*(_check(needed, call) for needed, call in checks.values()))
    dependencies = dict(zip(checks, found, strict=True))
    if any(d.needed and not d.ok for d in found):
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return Readiness(status="not ready", dependencies=dependencies)
    all_ok = all(d.ok for d in found)
    return Readiness(status="ready" if all_ok else "degraded", dependencies=dependencies)


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "In the text format",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
async def metrics(parts: PartsOf) -> Response:
    """Return the numbers of this process, and what the outbox holds."""
    waits = set_aside = math.nan
    with suppress(Unavailable):
        waits, set_aside = await parts.read(_outbox(parts.pool))
    parts.metrics.outbox_waits.set(waits)
    parts.metrics.set_aside.set(set_aside)
    return Response(generate_latest(parts.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _outbox(pool: asyncpg.Pool) -> tuple[float, int]:
    return await unpublished_for(pool), await count_set_aside(pool)


async def _temporal(parts: Parts) -> None:
    await check_health(parts.live.client)


async def _check(needed: bool, call: Callable[[], Coroutine[Any, Any, None]]) -> Dependency:
    began, error = time.perf_counter(), None
    try:
        await within(CHECK_SECONDS, call())
    except TimeoutError:
        error = f"no answer within {CHECK_SECONDS:.0f} s"
    except OrderError as problem:
        error = str(problem)
    seconds = round(time.perf_counter() - began, 4)
    return Dependency(ok=error is None, needed=needed, seconds=seconds, error=error)
