"""Which commands stand on the topics: what tells a pending command from one nobody has sent."""

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from aiokafka import ConsumerRecord
from aiokafka.structs import RecordMetadata

from domain.commands import Command
from domain.model import COMMAND_ID_MAX, is_id
from ingest.dead_letters import ERROR_CLASS, ERROR_MESSAGE
from ingest.decode import record_id

COMMANDS_REMEMBERED: Final = 100_000


@dataclass(frozen=True, slots=True)
class Sighting:
    """A command as it stands on a topic; ``why_dead`` is set when that is the dead letters'."""

    command_id: str
    order_id: str | None
    type: str | None
    topic: str
    partition: int
    offset: int
    at: datetime
    why_dead: str | None = None


class Sightings:
    """The last commands and dead letters on the topics, by command id.

    Every API process reads both topics, so it does not matter which one a command was sent
    through, or whether it came by REST at all. After a start it goes back to what ingest has
    not finished, and to all dead letters. The oldest are forgotten beyond
    ``COMMANDS_REMEMBERED``; what had an outcome is in PostgreSQL anyway. ``on_dead_letter`` is
    called with the id of each.
    """

    def __init__(self, on_dead_letter: Callable[[str], None]) -> None:
        self._on_dead_letter = on_dead_letter
        self._seen: OrderedDict[str, Sighting] = OrderedDict()
        self._asked: OrderedDict[str, bytes] = OrderedDict()

    def find(self, command_id: str) -> Sighting | None:
        """Return the newest sighting of a command id (explicit, or its record's place)."""
        return self._seen.get(command_id)

    def is_another(self, command: Command, *, new: bool) -> bool:
        """Tell whether this process was asked for something else under the same command id.

        A ``new`` command is noted here, before Kafka has it: of two that come at once with one
        id, the second is told.
        """
        command_id = command.command_id or ""
        digest = sha256(command.model_dump_json().encode()).digest()
        if self._asked.get(command_id, digest) != digest:
            return True
        if new:
            _keep(self._asked, command_id, digest)
        return False

    def sent(self, command: Command, place: RecordMetadata) -> Sighting:
        """Note a command that Kafka has just acknowledged; return where it stands."""
        written = datetime.now(UTC) if place.timestamp is None else _moment(place.timestamp)
        sighting = Sighting(
            command.command_id or "",
            command.order_id,
            command.type,
            place.topic,
            place.partition,
            place.offset,
            written,
        )
        self._note(sighting)
        return sighting

    def command(self, record: ConsumerRecord) -> None:
        """Note a record of the topic of commands."""
        self._note(_sighting(record))

    def dead_letter(self, record: ConsumerRecord) -> None:
        """Note a record of the topic of dead letters."""
        headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
        why = f"{headers.get(ERROR_CLASS, 'unknown')}: {headers.get(ERROR_MESSAGE, 'no reason')}"
        sighting = _sighting(record, why)
        # A dead letter is known by its place; what has an id of its own is found by both.
        for command_id in {sighting.command_id, record_id(record)}:
            self._note(replace(sighting, command_id=command_id))
            self._on_dead_letter(command_id)

    def _note(self, sighting: Sighting) -> None:
        earlier = self._seen.get(sighting.command_id)
        # A replayed dead letter is pending again; in the same instant the dead letter came after.
        if earlier and (earlier.at, earlier.why_dead is not None) > (
            sighting.at,
            sighting.why_dead is not None,
        ):
            return
        _keep(self._seen, sighting.command_id, sighting)


def _keep(memory: OrderedDict[str, Any], command_id: str, value: object) -> None:
    memory[command_id] = value
    memory.move_to_end(command_id)
    if len(memory) > COMMANDS_REMEMBERED:
        memory.popitem(last=False)


def _sighting(record: ConsumerRecord, why_dead: str | None = None) -> Sighting:
    fields = _readable(record.value)
    return Sighting(
        fields.get("command_id") or record_id(record),
        fields.get("order_id"),
        fields.get("type"),
        record.topic,
        record.partition,
        record.offset,
        _moment(record.timestamp),
        why_dead,
    )


def _readable(value: bytes | None) -> dict[str, str]:
    """Return the texts of a command, or as much as can be read of what is none."""
    try:
        document = json.loads(value or b"")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {
        name: text
        for name in ("command_id", "order_id", "type")
        if isinstance(text := document.get(name), str) and is_id(text, COMMAND_ID_MAX)
    }


def _moment(milliseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # producers may write any number
        return datetime.now(UTC)
