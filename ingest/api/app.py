"""The application: its routers, its errors, its description of itself."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from ingest.api import commands, dead_letters, events, health, orders, problems
from ingest.api.bodies import BODY_BYTES_MAX, schemas
from ingest.api.examples import add_examples
from ingest.api.metrics import Measured
from ingest.api.parts import Parts
from ingest.api.problems import ProblemDetails

DESCRIPTION: Final = f"""
Commands are put on the topic of commands and answered with 202 and a `Location`; what becomes
of them is told by `GET /commands/{{command_id}}`, or at once with the header `Prefer: wait=N`.
Reads come from the database.

Errors are problem+json (RFC 9457) and name the field in `errors`.

Limits: a body has at most {BODY_BYTES_MAX} bytes; ids are letters, digits and `. _ : -`, a
letter or digit first, order ids at most 64 and command ids at most 128 characters; a page has
at most {orders.PAGE_MAX} entries; a wait lasts at most {commands.WAIT_SECONDS_MAX} s.
"""


def create_app(parts: Parts) -> FastAPI:
    """Return the application over real adapters; its page at /docs needs nothing from outside."""
    app = FastAPIOffline(
        title="Order lifecycle",
        version="1",
        description=DESCRIPTION,
        redoc_url=None,
        debug=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # has its own metrics
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.parts = parts
    for router in (
        commands.router,
        orders.router,
        events.router,
        dead_letters.router,
        health.router,
    ):
        app.include_router(router)
    problems.install(app)
    app.add_middleware(Measured, metrics=parts.metrics)
    _complete(app.openapi())
    return app


def _complete(document: dict[str, Any]) -> None:
    """Add to the OpenAPI document, which FastAPI keeps, what FastAPI does not parse itself."""
    components = document["components"]["schemas"]
    components |= schemas()
    components["ProblemDetails"] = ProblemDetails.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    components |= components["ProblemDetails"].pop("$defs", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    add_examples(document)
