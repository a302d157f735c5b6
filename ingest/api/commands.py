"""Commands by REST: checked, put on the topic, and followed to their outcome."""

import re
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response

from domain.commands import (
    ApproveOrder,
    CancelOrder,
    Command,
    RejectOrder,
    StartOrder,
    UpdateAddress,
)
from domain.errors import Rejected, Unavailable
from domain.model import CommandId, OrderId
from ingest.api.bodies import read_command, request_body
from ingest.api.parts import Parts, PartsOf
from ingest.api.problems import FieldError, Problem, documented, unavailable
from ingest.api.status import CommandStatus, Stage, seen, status_of, unknown

WAIT_SECONDS_MAX: Final = 60
DIGITS_MAX: Final = 9
"""A number of more digits is not converted: Python refuses those of thousands."""

PATHS: Final[dict[type[Command], str]] = {
    StartOrder: "start",
    CancelOrder: "signals/cancel",
    UpdateAddress: "signals/update-address",
    ApproveOrder: "signals/approve",
    RejectOrder: "signals/reject",
}

_PROBLEMS: Final = documented(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_HEADERS: Final = {
    "Location": {"description": "`/commands/{command_id}`", "schema": {"type": "string"}},
    "Preference-Applied": {"description": "With `Prefer: wait=N`", "schema": {"type": "string"}},
}
# https://www.rfc-editor.org/rfc/rfc7240#section-4.3; what is not understood is ignored.
_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d+)\"?\s*(?:$|[,;])", re.IGNORECASE)

router = APIRouter(tags=["commands"])

OrderInPath = Annotated[OrderId, Path(description="Letters, digits and . _ : -, at most 64")]
Key = Annotated[
    CommandId | None,
    Header(
        alias="Idempotency-Key",
        description="Becomes the command id: the same key again is the same command",
    ),
]
Preference = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description=f"`wait=N`: answer with the outcome within N seconds (at most "
        f"{WAIT_SECONDS_MAX}); RFC 7240",
    ),
]


@router.get(
    "/commands/{command_id}",
    summary="What became of a command",
    response_description="What is known of it",
    responses=documented(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def get_command(
    parts: PartsOf,
    command_id: Annotated[CommandId, Path(description="As answered, or topic-partition-offset")],
    order_id: Annotated[
        OrderId | None, Query(description="Needed where an id was used on several orders")
    ] = None,
) -> CommandStatus:
    """Pending, applied, rejected, duplicate or dead-lettered; also for commands from Kafka.

    A command that came without `command_id` has the id `topic-partition-offset`.
    """
    status = await parts.read(status_of(parts.outcomes, parts.sightings, command_id, order_id))
    if status is None:
        raise unknown(command_id)
    return status


def _endpoint(kind: type[Command]) -> Callable[..., Awaitable[CommandStatus]]:
    async def post(
        request: Request,
        response: Response,
        parts: PartsOf,
        order_id: OrderInPath,
        idempotency_key: Key = None,
        prefer: Preference = None,  # noqa: ARG001 - described here, read below
    ) -> CommandStatus:
        command_id = idempotency_key or str(uuid.uuid4())
        command = await read_command(request, kind, order_id, command_id)
        status = await _standing(parts, command) if idempotency_key else None
        if parts.sightings.is_another(command, new=status is None):
            raise _key_reused(command_id, "with another command or body")
        if status is None:
            status = await _publish(parts, command, request.headers.get("traceparent"))
        # The header may stand several times (RFC 7240).
        seconds = wait_seconds(", ".join(request.headers.getlist("prefer")))
        if seconds is not None:
            response.headers["Preference-Applied"] = f"wait={seconds}"
            status = await _outcome(parts, command, status, seconds)
        response.headers["Location"] = f"/commands/{command_id}"
        response.status_code = _code(status) if seconds is not None else HTTPStatus.ACCEPTED
        return status

    return post


for _kind, _path in PATHS.items():
    router.add_api_route(
        f"/orders/{{order_id}}/{_path}",
        _endpoint(_kind),
        methods=["POST"],
        status_code=HTTPStatus.ACCEPTED,
        operation_id=_path.rpartition("/")[2].replace("-", "_"),
        summary=(_kind.__doc__ or "").partition(".")[0],
        description=f"{_kind.__doc__}\n\nThe command is on the topic when this answers 202.",
        openapi_extra={"requestBody": request_body(_kind)},
        responses={
            **_PROBLEMS,
            202: {"description": "On the topic", "headers": _HEADERS},
            200: {
                "model": CommandStatus,
                "description": "Applied (with `Prefer: wait=N`)",
                "headers": _HEADERS,
            },
        },
    )


def wait_seconds(prefer: str) -> int | None:
    """Return N of ``wait=N`` in a Prefer header, at most ``WAIT_SECONDS_MAX``."""
    found = _WAIT.search(prefer)
    if not found:
        return None
    digits = found[1].lstrip("0")
    return WAIT_SECONDS_MAX if len(digits) > DIGITS_MAX else min(int(digits or 0), WAIT_SECONDS_MAX)


async def _standing(parts: Parts, command: Command) -> CommandStatus | None:
    """Return how far a command is that came before under this key; raises 409 for another.

    While PostgreSQL is away, what does not stand on the topic counts as new: sent twice under
    one id, it is still one command.
    """
    command_id = command.command_id or ""
    try:
        status = await parts.read(status_of(parts.outcomes, parts.sightings, command_id))
    except Unavailable:
        sighting = parts.sightings.find(command_id)
        status = seen(sighting) if sighting else None
    if status is None:
        return None
    if status.order_id not in (None, command.order_id):
        raise _key_reused(command_id, f"on order {status.order_id}")
    if status.type not in (None, command.type):
        raise _key_reused(command_id, f"for a {status.type} command")
    return status


def _key_reused(key: str, how: str) -> Problem:
    text = f"Idempotency-Key: {key} was used before {how}; take a new key"
    error = FieldError(field="Idempotency-Key", location="header", detail=text)
    return Problem(HTTPStatus.CONFLICT, "key-reused", text, errors=[error])


async def _publish(parts: Parts, command: Command, traceparent: str | None) -> CommandStatus:
    try:
        place = await parts.publisher.publish(command, traceparent)
    except Unavailable as error:
        parts.metrics.unpublished.inc()
        text = f"{error}; repeat it with the header Idempotency-Key: {command.command_id}"
        raise unavailable(text, command_id=command.command_id) from error
    except Rejected as error:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", str(error)) from error
    parts.metrics.published.labels(command.type).inc()
    return seen(parts.sightings.sent(command, place))


async def _outcome(
    parts: Parts, command: Command, status: CommandStatus, seconds: int
) -> CommandStatus:
    """Wait for the end of a command; raises 409 when it was refused."""
    command_id = command.command_id or ""
    if status.status is Stage.PENDING:
        await parts.outcomes.wait(command_id, seconds)
        with suppress(Unavailable):  # it is on the topic all the same
            found = await parts.read(
                status_of(parts.outcomes, parts.sightings, command_id, command.order_id)
            )
            status = found or status
    if status.status in (Stage.REJECTED, Stage.DUPLICATE, Stage.DEAD_LETTERED):
        raise Problem(
            HTTPStatus.CONFLICT,
            f"command-{status.status}",
            status.reason or "no reason was given",
            headers={
                "Location": f"/commands/{command_id}",
                "Preference-Applied": f"wait={seconds}",
            },
            command_id=command_id,
            order_id=status.order_id,
        )
    return status


def _code(status: CommandStatus) -> HTTPStatus:
    return HTTPStatus.ACCEPTED if status.status is Stage.PENDING else HTTPStatus.OK
