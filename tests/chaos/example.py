"""Evidence made by hand: what is left of one shipped order and one poison record."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.chaos.evidence import Entry, EventRow, Evidence, OrderRow, PaymentRow, Record, Run
from tests.chaos.ledger import Acknowledged, Kind, Message, Story

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOME = {"street": "1 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
ITEMS = [{"sku": "S", "quantity": 1, "unit_price": 500}]

SHIPPED: list[tuple[str, dict[str, Any]]] = [
    ("order.received", {"address": HOME, "deadline": "2030-01-01T12:00:15Z"}),
    ("order.validated", {"items": ITEMS, "amount": 500, "currency": "EUR"}),
    ("order.payment_charged", {"payment_id": "P-A", "amount": 500, "currency": "EUR"}),
    ("order.shipment_prepared", {"shipment_id": "A-1", "address": HOME}),
    ("order.dispatched", {"shipment_id": "A-1", "tracking_number": "T"}),
    ("order.shipped", {"tracking_number": "T"}),
]


STATES = {
    "order.received": "received",
    "order.validated": "validated",
    "order.review_requested": "in_review",
    "order.payment_charged": "charged",
    "order.payment_refunded": "refunded",
    "order.shipment_prepared": "shipment_prepared",
    "order.dispatched": "dispatched",
    "order.shipped": "shipped",
    "order.rejected": "rejected",
    "order.cancelled": "cancelled",
    "order.failed": "failed",
}

_TYPES = {"refunded": "order.payment_refunded"}


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def publish_all(evidence: Evidence) -> None:
    """Let the topic have the events of A."""
    state = None
    evidence.published = []
    for offset, event in enumerate(evidence.events["A"]):
        state = STATES.get(event.type, state)
        evidence.published.append(published(event, offset, state))


def published(event: EventRow, offset: int, state: str | None = None) -> Record:
    body = {
        "type": event.type,
        "order_id": event.order_id,
        "sequence": event.sequence,
        "at": event.at.isoformat(),
        "state": state or STATES.get(event.type),
        "data": event.data,
    }
    if event.command_id:
        body["command_id"] = event.command_id
    headers = {"ce_id": f"{event.order_id}-{event.sequence}", "ce_type": event.type}
    value = json.dumps(body).encode()
    return Record("events", 0, offset, event.order_id.encode(), value, headers, event.at)


def good() -> Evidence:
    """Return what is left of one shipped order and one poison record."""
    body = {"type": "start", "order_id": "A", "command_id": "c1", "initial_address": HOME}
    start = json.dumps(body).encode()
    sent = [
        Message("start", "A", "c1", start, b"A"),
        Message("poison", "P", None, b"poison", None),
    ]
    evidence = Evidence()
    evidence.ledger.stories = [Story("plain", "A", ((0, sent[0]),), "shipped")]
    for offset, message in enumerate(sent):
        evidence.commands.append(
            Record("commands", 0, offset, message.key, message.value, {}, NOON)
        )
        evidence.ledger.acknowledged.append(Acknowledged(message, 0, 0, offset))
    origin = {"dlt.original.topic": "commands", "dlt.original.partition": "0"}
    headers = {**origin, "dlt.original.offset": "1", "dlt.error.message": "not JSON"}
    evidence.dead_letters = [Record("dlt", 0, 0, None, b"poison", headers, NOON)]
    events = [
        EventRow("A", number, kind, "c1" if number == 1 else None, data, after(number))
        for number, (kind, data) in enumerate(SHIPPED, 1)
    ]
    evidence.events = {"A": events}
    publish_all(evidence)
    others = {"address": HOME, "items": ITEMS, "amount": 500, "currency": "EUR", "sequence": 6}
    others |= {"payment_id": "P-A", "shipment_id": "A-1", "tracking_number": "T", "reason": None}
    evidence.orders = {"A": OrderRow("A", "shipped", after(15), others)}
    evidence.payments = [PaymentRow("P-A", "A", "charged", 500, "EUR")]
    money = {"amount": 500, "currency": "EUR"}
    evidence.books = [
        Entry("A:charge", "charge", "A", money, NOON),
        Entry("A:dispatch", "dispatch", "A", {"address": HOME}, NOON),
    ]
    evidence.runs = {"A": Run("COMPLETED", "shipped")}
    evidence.lag = {0: 0}
    return evidence


def end_as(evidence: Evidence, state: str, seconds: float = 6) -> None:
    kind = _TYPES.get(state, f"order.{state}")
    end = EventRow("A", 6, kind, None, {"reason": "x"}, after(seconds))
    evidence.events["A"][5] = end
    evidence.published[5] = published(end, 5)
    evidence.orders["A"] = OrderRow("A", state, after(15), evidence.orders["A"].others)
    evidence.orders["A"].others["reason"] = "x"
    evidence.runs["A"] = Run("COMPLETED", state)


def add(evidence: Evidence, number: int, kind: str, command: dict[str, Any]) -> None:
    """Let a second command come, and be answered by an event in the place of ``number``."""
    value = json.dumps({"order_id": "A", "command_id": "c2", **command}).encode()
    kinds: dict[str, Kind] = {"cancel": "cancel", "approve": "approve"}
    message = Message(kinds[command["type"]], "A", "c2", value, b"A")
    evidence.ledger.acknowledged.append(Acknowledged(message, 0, 0, 2))
    evidence.commands.append(Record("commands", 0, 2, b"A", value, {}, NOON))
    told = {"command_type": command["type"], "reason": "x", "address": command.get("new_address")}
    events = evidence.events["A"]
    events.insert(number - 1, EventRow("A", number, kind, "c2", told, events[number - 2].at))
    evidence.events["A"] = [replace(event, sequence=n) for n, event in enumerate(events, 1)]
    publish_all(evidence)
    evidence.orders["A"].others["sequence"] = len(events)
