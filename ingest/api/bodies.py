"""Bodies of commands: what path and headers do not say, checked as the command on the topic is."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model
from starlette.requests import ClientDisconnect

from domain.commands import (
    COMMAND,
    ApproveOrder,
    CancelOrder,
    Command,
    RejectOrder,
    StartOrder,
    UpdateAddress,
)
from domain.errors import BadCommand
from domain.model import Model
from ingest.api.problems import FieldError, Problem
from ingest.decode import VALUE_BYTES_MAX, details_of, field_path, parse_object, sentence

BODY_BYTES_MAX: Final = VALUE_BYTES_MAX - 1024
"""The record holds the body and, in addition, type, order id and command id."""

ERRORS_SHOWN: Final = 20

ELSEWHERE: Final[Mapping[str, str]] = {
    "type": "the path",
    "order_id": "the path",
    "command_id": "the header Idempotency-Key",
}
"""Fields of a command that do not stand in the body, and where they stand."""

_ADDRESS: Final = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
_ITEMS: Final = [{"sku": "BOOK-1", "quantity": 2, "unit_price": 1250}]
_REVIEW: Final = {"reviewed_by": "alex", "reason": "known customer"}

EXAMPLES: Final[Mapping[type[Command], dict[str, dict[str, Any]]]] = {
    StartOrder: {
        "items known": {"initial_address": _ADDRESS, "items": _ITEMS, "currency": "USD"},
        "the receive partner knows the items": {"initial_address": _ADDRESS},
    },
    CancelOrder: {"cancel": {"reason": "no longer wanted", "cancelled_by": "customer"}},
    UpdateAddress: {"update": {"new_address": _ADDRESS, "updated_by": "customer"}},
    ApproveOrder: {"approve": _REVIEW},
    RejectOrder: {"reject": _REVIEW | {"reason": "address looks odd"}},
}


async def read_command(
    request: Request, kind: type[Command], order_id: str, command_id: str
) -> Command:
    """Return the command that a request asks for.

    Raises ``Problem`` 413 (too large), 415 (not declared as plain JSON), 400 (no JSON object) or
    422 naming each wrong field.
    """
    declared = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if declared.lower() != "application/json":
        text = f"Content-Type is {declared!r:.80}, must be application/json"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-json", text)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        text = f"Content-Encoding is {encoding!r:.80}, the body must not be compressed"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-json", text)
    try:
        document = parse_object(await _read(request))
    except BadCommand as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "not-json", f"the body: {error}") from None
    return _command(kind, document, order_id, command_id)


async def _read(request: Request) -> bytes:
    """Return the body; it is not read further than allowed, whatever its length says."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                text = f"the body has more than {BODY_BYTES_MAX} bytes, the limit"
                raise Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "too-large",
                    text,
                    headers={"Connection": "close"},
                )
    except ClientDisconnect:  # nobody reads this, and it is no defect of the service
        raise Problem(HTTPStatus.BAD_REQUEST, "not-json", "the body breaks off") from None
    return bytes(body)


def _command(
    kind: type[Command], document: dict[str, Any], order_id: str, command_id: str
) -> Command:
    given = {"type": type_of(kind), "order_id": order_id, "command_id": command_id}
    errors = [
        FieldError(
            field=name, location="body", detail=f"{name}: stands in {place}, not in the body"
        )
        for name, place in ELSEWHERE.items()
        if name in document
    ]
    try:
        command = COMMAND.validate_python(document | given)
    except ValidationError as error:
        errors += [
            FieldError(field=field_path(detail), location="body", detail=sentence(detail))
            for detail in details_of(error)
        ]
    if errors:
        shown, more = errors[:ERRORS_SHOWN], len(errors) - ERRORS_SHOWN
        text = "; ".join(error.detail for error in shown)
        text = f"{text}; and {more} more" if more > 0 else text
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", text, errors=shown)
    return command


def type_of(kind: type[Command]) -> str:
    """Return the command's ``type`` on the topic."""
    return str(kind.model_fields["type"].default)


def request_body(kind: type[Command]) -> dict[str, Any]:
    """Return the OpenAPI ``requestBody`` of a command."""
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{_name(kind)}"},
                "examples": {name: {"value": value} for name, value in EXAMPLES[kind].items()},
            }
        },
    }


def schemas() -> dict[str, Any]:
    """Return the OpenAPI ``components.schemas`` that the bodies refer to."""
    found: dict[str, Any] = {}
    for kind in EXAMPLES:
        schema = TypeAdapter(_body(kind)).json_schema(ref_template="#/components/schemas/{model}")
        found |= schema.pop("$defs", {})
        found[_name(kind)] = schema
    return found


def _name(kind: type[Command]) -> str:
    return f"{kind.__name__}Body"


def _body(kind: type[Command]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in kind.model_fields.items()
        if name not in ELSEWHERE
    }
    extra = kind.model_config.get("json_schema_extra")
    config = ConfigDict(**{**Model.model_config, "json_schema_extra": extra})
    return create_model(_name(kind), __config__=config, __doc__=kind.__doc__, **fields)
