"""Errors as problem+json (RFC 9457), each with the field that it is about."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from domain.errors import Unavailable
from ingest.decode import field_path, sentence

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 2
_IN_PATH: Final = "/:@!$&'()*+,;="
"""What may stand in the path of a URI as it is (RFC 3986), beside letters, digits and ``-._~``."""


class FieldError(BaseModel):
    """What is wrong with one field; ``field`` is its path, as ``initial_address.zip``."""

    field: Annotated[str, Field(examples=["initial_address.zip"])]
    location: Annotated[str, Field(examples=["body", "path", "query", "header"])]
    detail: Annotated[str, Field(examples=["initial_address.zip: missing"])]


class ProblemDetails(BaseModel):
    """A problem as RFC 9457 describes it."""

    type: Annotated[str, Field(examples=["urn:orders:invalid"])]
    title: Annotated[str, Field(examples=["Unprocessable Content"])]
    status: Annotated[int, Field(examples=[422])]
    detail: Annotated[str, Field(examples=["initial_address.zip: missing"])]
    instance: Annotated[str, Field(examples=["/orders/A-1/start"])]
    errors: list[FieldError] = []
    command_id: str | None = None
    order_id: str | None = None


class Problem(Exception):
    """Ends a request with a problem; ``kind`` is the last part of its type."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        command_id: str | None = None,
        order_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.about = {"command_id": command_id, "order_id": order_id}


def unavailable(detail: str, command_id: str | None = None) -> Problem:
    """Return the problem of a server that does not answer just now."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "unavailable",
        detail,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        command_id=command_id,
    )


def not_found(
    detail: str, *, command_id: str | None = None, order_id: str | None = None
) -> Problem:
    """Return the problem of something that is not known."""
    return Problem(
        HTTPStatus.NOT_FOUND, "not-found", detail, command_id=command_id, order_id=order_id
    )


def install(app: FastAPI) -> None:
    """Make every error of ``app`` a problem."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> Response:
        return _response(request, error)

    @app.exception_handler(Unavailable)
    async def _unavailable(request: Request, error: Unavailable) -> Response:
        return _response(request, unavailable(str(error)))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [_field_error(detail) for detail in error.errors()]
        text = "; ".join(field.detail for field in errors)
        problem = Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", text, errors=errors)
        return _response(request, problem)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        detail = f"{request.method} {request.url.path}: {status.phrase.lower()}; see /docs"
        kind = "not-found" if status is HTTPStatus.NOT_FOUND else "http"
        return _response(request, Problem(status, kind, detail, headers=error.headers))

    @app.exception_handler(Exception)
    async def _broken(request: Request, _error: Exception) -> Response:
        detail = "the service has a defect; its log says more"
        return _response(request, Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "defect", detail))


def _field_error(detail: Mapping[str, Any]) -> FieldError:
    location = str(detail["loc"][0])
    return FieldError(field=field_path(detail), location=location, detail=sentence(detail))


def _response(request: Request, problem: Problem) -> Response:
    details: dict[str, Any] = {
        "type": f"urn:orders:{problem.kind}",
        "title": problem.status.phrase,
        "status": problem.status.value,
        "detail": problem.detail,
        "instance": quote(request.scope["path"], safe=_IN_PATH),
    }
    if problem.errors:
        details["errors"] = [error.model_dump() for error in problem.errors]
    details |= {name: value for name, value in problem.about.items() if value is not None}
    # ASCII, because what is quoted from a request may hold what UTF-8 cannot encode.
    return Response(json.dumps(details), problem.status, dict(problem.headers), MEDIA_TYPE)


_SAYS: Final = {
    HTTPStatus.BAD_REQUEST: "The body is not a JSON object",
    HTTPStatus.NOT_FOUND: "Not known",
    HTTPStatus.CONFLICT: "Refused, or the id stands for something else; `detail` says why",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not declared as application/json",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A field is wrong; `errors` names it",
    HTTPStatus.SERVICE_UNAVAILABLE: "A server behind the API does not answer; try again",
}


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI ``responses`` of these problems."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    responses: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        responses[status.value] = {
            "description": _SAYS[status],
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
    if HTTPStatus.SERVICE_UNAVAILABLE in statuses:
        responses[HTTPStatus.SERVICE_UNAVAILABLE.value]["headers"] = {
            "Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}
        }
    return responses
