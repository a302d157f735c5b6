"""The examples of the OpenAPI document: one order, A-1, seen through every operation."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from ingest.api.problems import MEDIA_TYPE
from orchestration.contract import ALREADY_STARTED

_COMMAND: Final = "0b9c0f5e-6d0e-4a0c-9a8b-3c1e5a7d9f10"
_LETTER: Final = "orders.commands-0-17"
_AT: Final = "2026-01-31T10:00:00.123456Z"
_ADDRESS: Final = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
_LINKS: Final = {"self": "/orders/A-1/status", "history": "/orders/A-1/history"}
_RECEIVED: Final = {
    "type": "order.received",
    "order_id": "A-1",
    "sequence": 1,
    "at": _AT,
    "state": "received",
    "command_id": _COMMAND,
    "data": {"address": _ADDRESS, "deadline": "2026-01-31T10:00:15.123456Z"},
}
_SUMMARY: Final = {
    "order_id": "A-1",
    "state": "validated",
    "amount": 2500,
    "currency": "USD",
    "reason": None,
    "received_at": _AT,
    "updated_at": "2026-01-31T10:00:00.223456Z",
    "links": _LINKS,
}
_PENDING: Final = {
    "command_id": _COMMAND,
    "status": "pending",
    "type": "start",
    "order_id": "A-1",
    "reason": None,
    "event": None,
    "record": {"topic": "orders.commands", "partition": 2, "offset": 41},
    "links": {
        "self": f"/commands/{_COMMAND}",
        "order": "/orders/A-1/status",
        "history": "/orders/A-1/history",
    },
}
_APPLIED: Final = {
    **_PENDING,
    "status": "applied",
    "event": {"type": "order.received", "sequence": 1, "at": _AT, "state": "received"},
    "record": None,
}
_READY: Final = {"ok": True, "needed": True, "seconds": 0.0021, "error": None}

PARAMETERS: Final[Mapping[str, object]] = {
    "order_id": "A-1",
    "command_id": _COMMAND,
    "letter_id": _LETTER,
    "Idempotency-Key": "checkout-4711",
    "Prefer": "wait=10",
    "state": "shipped",
    "limit": 50,
    "wait": 20,
    "get_orders after": "A-1",
    "get_history after": 6,
    "get_events after": "0-17.1-4.2-42.3-0",
}
"""By name, or by operation and name where one name means several things."""

ANSWERS: Final[Mapping[str, object]] = {
    "POST 202": _PENDING,
    "POST 200": _APPLIED,
    "get_command 200": _APPLIED,
    "get_orders 200": {"orders": [_SUMMARY], "next": "/orders?limit=1&after=A-1"},
    "get_status 200": {
        **_SUMMARY,
        "links": {
            **_LINKS,
            "temporal_ui": "http://localhost:8080/namespaces/default/workflows/order-A-1",
        },
        "step": "charge",
        "attempts": 2,
        "last_error": "payments: no answer within 0.25 s",
        "live": True,
        "deadline": "2026-01-31T10:00:15.123456Z",
        "decide_by": None,
        "seconds_left": 13.214,
        "address": _ADDRESS,
        "items": [{"sku": "BOOK-1", "quantity": 2, "unit_price": 1250}],
        "payment": {
            "payment_id": "A-1:charge",
            "status": "charging",
            "amount": 2500,
            "currency": "USD",
        },
        "shipment_id": None,
        "tracking_number": None,
        "events": 2,
    },
    "get_history 200": {
        "order_id": "A-1",
        "events": [{**_RECEIVED, "seconds": None}],
        "next": "/orders/A-1/history?limit=1&after=1",
    },
    "get_events 200": {"events": [_RECEIVED], "next": "0-17.1-4.2-43.3-0"},
    "get_dead_letters 200": {
        "dead_letters": [
            {
                "id": _LETTER,
                "command_id": _LETTER,
                "written": "2026-01-31T10:00:00.123+00:00",
                "attempts": 1,
                "error_class": "BadCommand",
                "error": "initial_address: missing",
                "key": None,
                "value": '{"type":"start","order_id":"A-1"}',
            }
        ]
    },
    "replay_dead_letter 202": {"id": _LETTER, "command_id": _LETTER},
    "health 200": {"status": "ok"},
    "ready 200": {
        "status": "ready",
        "dependencies": {
            "postgresql": _READY,
            "kafka": _READY,
            "temporal": {**_READY, "needed": False},
        },
    },
    "ready 503": {
        "status": "not ready",
        "dependencies": {
            "postgresql": _READY,
            "kafka": {**_READY, "ok": False, "seconds": 2.0, "error": "no answer within 2 s"},
            "temporal": {**_READY, "needed": False},
        },
    },
    "metrics 200": 'orders_api_commands_published_total{type="start"} 17.0\n',
}
"""By operation (or method) and status."""


def _problem(status: HTTPStatus, kind: str, detail: str, **more: object) -> dict[str, object]:
    return {
        "type": f"urn:orders:{kind}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "instance": "/orders/A-1/start",
        **more,
    }


def _refused(kind: str, reason: str) -> dict[str, object]:
    about = {"command_id": _COMMAND, "order_id": "A-1"}
    return _problem(HTTPStatus.CONFLICT, f"command-{kind}", reason, **about)


_TEXT: Final = "initial_address.zip: missing"
_KEY: Final = (
    "Idempotency-Key: checkout-4711 was used before with another command or body; take a new key"
)

PROBLEMS: Final[Mapping[str, Mapping[str, Mapping[str, object]]]] = {
    "400": {
        "not JSON": _problem(
            HTTPStatus.BAD_REQUEST,
            "not-json",
            "the body: not JSON: Expecting value at line 1, column 1",
        )
    },
    "404": {"unknown": _problem(HTTPStatus.NOT_FOUND, "not-found", "order A-1 is unknown")},
    "409": {
        "refused": _refused("rejected", "too late: the order is shipped"),
        "a second start": _refused("duplicate", ALREADY_STARTED),
        "a key used before": _problem(
            HTTPStatus.CONFLICT,
            "key-reused",
            _KEY,
            errors=[{"field": "Idempotency-Key", "location": "header", "detail": _KEY}],
        ),
    },
    "get_command 409": {
        "used on several orders": _problem(
            HTTPStatus.CONFLICT,
            "ambiguous",
            "command id checkout-4711 was used on orders A-1, A-2: add ?order_id=",
        )
    },
    "413": {
        "too large": _problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too-large",
            "the body has more than 523264 bytes, the limit",
        )
    },
    "415": {
        "no JSON declared": _problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "not-json",
            "Content-Type is 'text/plain', must be application/json",
        )
    },
    "422": {
        "a field is missing": _problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid",
            _TEXT,
            errors=[{"field": "initial_address.zip", "location": "body", "detail": _TEXT}],
        )
    },
    "503": {
        "away": _problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "unavailable",
            "Kafka did not answer within 4 s; repeat it with the header "
            f"Idempotency-Key: {_COMMAND}",
            command_id=_COMMAND,
        )
    },
}
"""By status, or by operation and status."""


def add_examples(document: dict[str, Any]) -> None:
    """Put the examples into an OpenAPI document."""
    for path in document["paths"].values():
        for method, operation in path.items():
            name = operation["operationId"]
            for parameter in operation.get("parameters", ()):
                given = parameter["name"]
                parameter["example"] = PARAMETERS.get(f"{name} {given}", PARAMETERS.get(given))
            for status, response in operation["responses"].items():
                for media_type, content in response.get("content", {}).items():
                    content.update(_examples(media_type, method, name, status))


def _examples(media_type: str, method: str, name: str, status: str) -> dict[str, Any]:
    if media_type == MEDIA_TYPE:
        named = PROBLEMS.get(f"{name} {status}") or PROBLEMS[status]
        return {"examples": {title: {"value": value} for title, value in named.items()}}
    own, common = f"{name} {status}", f"{method.upper()} {status}"
    return {"example": ANSWERS[own] if own in ANSWERS else ANSWERS[common]}
