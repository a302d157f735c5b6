"""An outbox row as a CloudEvents 1.0 record in binary mode: metadata in headers, data as value.

Source: CloudEvents specification 1.0.2 and its Kafka protocol binding (header prefix ``ce_``).
"""

from functools import cache
from typing import Final

import asyncpg

SOURCE: Final = "urn:order-lifecycle:orders"
SCHEMA_PREFIX: Final = "urn:order-lifecycle:event:"
"""With an event's type behind it: ``ce_dataschema``, and the ``$id`` of its JSON Schema."""


def headers(row: asyncpg.Record) -> list[tuple[str, bytes]]:
    """Return the headers of one row; ``ce_id`` is the same however often the row is sent."""
    order_id: str = row["aggregateid"]
    found = [
        *_headers_of_type(row["type"]),
        ("ce_id", f"{order_id}-{row['sequence']}".encode()),
        ("ce_subject", order_id.encode()),
        ("ce_time", row["at"].isoformat().encode()),
    ]
    if row["traceparent"] is not None:
        found.append(("traceparent", row["traceparent"].encode()))
    return found


@cache
def _headers_of_type(event_type: str) -> tuple[tuple[str, bytes], ...]:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_type", event_type.encode()),
        ("ce_source", SOURCE.encode()),
        ("ce_dataschema", f"{SCHEMA_PREFIX}{event_type}".encode()),
        ("content-type", b"application/json"),
    )
