"""Records as the consumer gets them, without a broker."""

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class FakeRecord:
    """A record at offset 7 of partition 2."""

    value: bytes | None = None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    topic: str = "orders.commands"
    partition: int = 2
    offset: int = 7
    timestamp: int = 1_700_000_000_000


ADDRESS = {"street": "1 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}


def start(**changes: object) -> dict[str, object]:
    """Return a start command that is right except for ``changes``; ``None`` removes a field."""
    command = {"type": "start", "order_id": "A-1", "initial_address": ADDRESS, **changes}
    return {name: value for name, value in command.items() if value is not None}


def record(document: object, key: bytes | None = None) -> FakeRecord:
    """Return a record that holds ``document`` as JSON."""
    return FakeRecord(json.dumps(document).encode(), key)
