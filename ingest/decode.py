"""From a Kafka record to a command, or to a clear text of what is wrong with it.

Strict where JSON libraries are lax: a duplicate key, NaN or a lone surrogate is refused, because
two readers of such a record would see two different commands.
"""

import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, Protocol

from pydantic import ValidationError

from domain.commands import COMMAND, Command
from domain.errors import BadCommand
from domain.model import COMMAND_ID_MAX, ID_PATTERN, ORDER_ID_MAX
from orchestration.contract import CommandMessage

VALUE_BYTES_MAX: Final = 524_288
"""A command's JSON may be this long; Temporal warns from 512 KiB on and refuses 2 MiB."""

TYPES: Final = ("start", "cancel", "update-address", "approve", "reject")
ERRORS_SHOWN: Final = 5
FIELDS_MAX: Final = 20
"""An object of a command has fewer. Each unknown field is an error that costs time to tell."""
COMMAND_IDS: Final = ("command_id", "Idempotency-Key")


ORIGINAL_TOPIC: Final = "dlt.original.topic"
ORIGINAL_PARTITION: Final = "dlt.original.partition"
ORIGINAL_OFFSET: Final = "dlt.original.offset"

# As long as the settings allow a topic's name to be, so that it always makes a command id.
_PLACE: Final = re.compile(rb"([A-Za-z0-9][A-Za-z0-9._-]{0,99})-(\d{1,7})-(\d{1,18})")
# https://www.w3.org/TR/trace-context/#traceparent-header; version ff and zero ids are invalid.
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)

_shown = reprlib.Repr()
_shown.maxlevel = 2
_shown.maxstring = _shown.maxother = _shown.maxlong = 60
_shown.maxdict = _shown.maxlist = 3


class Record(Protocol):
    """What is needed of aiokafka's ``ConsumerRecord``."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def decode(record: Record) -> CommandMessage:
    """Return the command that a record holds, with a command id in any case.

    Without ``command_id`` the record's first position on the topic is its id
    (``topic-partition-offset``), so that a redelivery or a replayed dead letter is the same
    command again. Raises ``BadCommand`` whose text names field and value.
    """
    document = parse_object(record.value)
    command = _command(document)
    _check_key(record.key, command.order_id)
    if command.command_id is None:
        command = command.model_copy(update={"command_id": record_id(record)})
    return CommandMessage.model_construct(command=command, traceparent=_traceparent(record))


def record_id(record: Record) -> str:
    """Return ``topic-partition-offset`` of where the record stood first."""
    return "-".join(map(str, original_place(record)))


def original_place(record: Record) -> tuple[str, int, int]:
    """Return topic, partition and offset of where the record stood first.

    A replayed dead letter carries them in ``dlt.original.*`` headers; headers of that name which
    are none of ours are ignored.
    """
    headers = dict(record.headers)
    if ORIGINAL_TOPIC in headers:
        values = [headers.get(n) for n in (ORIGINAL_TOPIC, ORIGINAL_PARTITION, ORIGINAL_OFFSET)]
        place = b"-".join(value or b"" for value in values)
        if match := _PLACE.fullmatch(place):
            return match[1].decode(), int(match[2]), int(match[3])
    return record.topic, record.partition, record.offset


def parse_object(value: bytes | None) -> dict[str, Any]:
    """Return the JSON object that ``value`` is; raises ``BadCommand`` for anything else."""
    if value is None:
        raise BadCommand("the record has no value (a tombstone), expected a JSON object")
    if not value:
        raise BadCommand("the value is empty, expected a JSON object")
    if len(value) > VALUE_BYTES_MAX:
        raise BadCommand(f"the value has {len(value)} bytes, the limit is {VALUE_BYTES_MAX}")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadCommand(
            f"not UTF-8: byte {value[error.start]:#04x} at position {error.start}"
        ) from None
    document = _parsed(text)
    if not isinstance(document, dict):
        raise BadCommand(f"expected a JSON object, got {_shown.repr(document)}")
    return document


def _parsed(text: str) -> object:
    try:
        return json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_float=_number,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise BadCommand(
            f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise BadCommand("not a command: the JSON is nested too deeply") from None
    except ValueError as error:  # an integer of more digits than Python converts
        raise BadCommand(f"not a command: {error}") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > FIELDS_MAX:
        raise BadCommand(f"an object has {len(pairs)} fields, the limit is {FIELDS_MAX}")
    document = dict(pairs)
    if len(document) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise BadCommand(f"{_name(name)}: the key stands twice in one JSON object")
            seen.add(name)
    return document


def _number(text: str) -> int | float:
    """JSON has one kind of number: 2.0 is the integer 2, as JSON Schema has it."""
    whole, _, rest = text.partition(".")
    return int(whole) if rest and not rest.strip("0") else float(text)


def _refuse_constant(name: str) -> NoReturn:
    raise BadCommand(f"not JSON: {name} is not a JSON number")


def _command(document: dict[str, Any]) -> Command:
    try:
        return COMMAND.validate_python(document)
    except ValidationError as error:
        details = details_of(error)
        more = len(details) - ERRORS_SHOWN
        shown = "; ".join(sentence(detail) for detail in details[:ERRORS_SHOWN])
        raise BadCommand(f"{shown}; and {more} more" if more > 0 else shown) from None


def details_of(error: ValidationError) -> list[Mapping[str, Any]]:
    """Return the errors of a validation, each once."""
    details = error.errors(include_url=False, include_context=True)
    # pydantic counts an item that is wrong as absent, and then calls the list too short as well.
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or all(other["loc"][:-1][: len(detail["loc"])] != detail["loc"] for other in details)
    ]


def field_path(detail: Mapping[str, Any]) -> str:
    """Return where in a command the error of a validation is, as ``initial_address.zip``."""
    return ".".join(_name(part) for part in detail["loc"][1:]) or "type"


def sentence(detail: Mapping[str, Any]) -> str:
    """Return the error of a validation as text: the field first, the value last."""
    kind, value = detail["type"], detail["input"]
    field = field_path(detail)
    got = f", got {_shown.repr(value)}"
    match kind:
        case "union_tag_not_found":
            return f"type: missing, must be one of {', '.join(TYPES)}"
        case "union_tag_invalid":
            given = _shown.repr(value.get("type"))
            return f"type: must be one of {', '.join(TYPES)}, got {given}"
        case "missing":
            return f"{field}: missing"
        case "extra_forbidden":
            return f"{field}: unknown field{got}"
        case "string_unicode":
            return f"{field}: not valid Unicode (a lone surrogate){got}"
        case "model_type" | "dict_type":
            return f"{field}: must be a JSON object{got}"
        case "string_pattern_mismatch" if detail["ctx"]["pattern"] == ID_PATTERN:
            longest = COMMAND_ID_MAX if field in COMMAND_IDS else ORDER_ID_MAX
            return (
                f"{field}: must be letters, digits and . _ : -, a letter or digit first, "
                f"at most {longest} characters{got}"
            )
        case "value_error":
            return f"{field}: {detail['ctx']['error']}{got}"
    reason = detail["msg"].replace("Input should be", "must be")
    reason = re.sub("^(String|Tuple) should", "must", reason)
    return f"{field}: {reason[0].lower()}{reason[1:]}{got}"


def _name(part: str | int) -> str:
    """A field's name as it can stand in a log line: short, and printable."""
    text = str(part)
    return text if text.replace("-", "_").isidentifier() and len(text) <= 60 else _shown.repr(part)


def _check_key(key: bytes | None, order_id: str) -> None:
    if key and key != order_id.encode():
        raise BadCommand(
            f"the record's key {_shown.repr(key)} contradicts order_id {order_id!r}: "
            "the key must be the order id, or absent"
        )


def _traceparent(record: Record) -> str | None:
    for name, value in record.headers:
        if name == "traceparent" and value and _TRACEPARENT.fullmatch(value):
            return value.decode("ascii")
    return None
