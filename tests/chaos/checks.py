"""What must be true when all has settled. Pure functions from evidence to violations.

Nothing here comes from the service: the rules are written down once more, from the design.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tests.chaos.evidence import EventRow, Evidence, Record
from tests.chaos.ledger import Message

TERMINAL: Final = {
    "order.shipped": "shipped",
    "order.rejected": "rejected",
    "order.cancelled": "cancelled",
    "order.failed": "failed",
}
_STATE_AFTER: Final = TERMINAL | {
    "order.received": "received",
    "order.validated": "validated",
    "order.review_requested": "in_review",
    "order.approved": "approved",
    "order.payment_charged": "charged",
    "order.payment_refunded": "refunded",
    "order.shipment_prepared": "shipment_prepared",
    "order.dispatched": "dispatched",
    "order.dispatch_failed": "dispatch_failed",
}
_APPLIED_AS: Final = {
    "start": "order.received",
    "cancel": "order.cancelled",
    "update-address": "order.address_updated",
    "approve": "order.approved",
    "reject": "order.rejected",
}
REFUSED: Final = "order.command_rejected"
_STEPS: Final = (
    *("order.received", "order.validated", "order.payment_charged"),
    *("order.shipment_prepared", "order.dispatched", "order.shipped"),
)
"""Of an order that ships."""
_NOT_YET: Final = (
    *("items", "amount", "currency", "reason"),
    *("payment_id", "shipment_id", "tracking_number"),
)
"""Columns of an order's row that are empty until an event fills them."""
REPEATS_LEAST: Final = 20
REPEATS_MOST: Final = 0.25
"""Of all events; so many repeats are no longer what a few crashes leave behind."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, and for whom (an order id, a record's place, a process)."""

    check: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A good command as it stands on the topic, where it came first."""

    kind: str
    order_id: str
    command_id: str
    at: datetime
    body: dict[str, Any]


def commands_of(evidence: Evidence) -> tuple[dict[str, Command], dict[str, Record]]:
    """Return the good commands by ``order_id/command_id`` and the poison records by place.

    What is poison is known from the driver's book: it wrote the value.
    """
    sent = [a.message for a in evidence.ledger.acknowledged]
    sent += [message for message, _ in evidence.ledger.unclear]
    poison = {(message.key, message.value) for message in sent if message.kind == "poison"}
    good: dict[str, Command] = {}
    bad: dict[str, Record] = {}
    for record in evidence.commands:
        if (record.key, record.value) in poison:
            bad[record.place] = record
            continue
        body = json.loads(record.value)
        order_id, command_id = body["order_id"], body.get("command_id") or record.place
        command = Command(body["type"], order_id, command_id, record.at, body)
        earlier = good.setdefault(f"{order_id}/{command_id}", command)
        if command.at < earlier.at:
            good[f"{order_id}/{command_id}"] = command
    return good, bad


def acknowledged_is_on_the_topic(evidence: Evidence) -> Iterator[Violation]:
    """What Kafka or the API acknowledged stands on the commands topic."""
    places = {(r.partition, r.offset): r.value for r in evidence.commands}
    good, _ = commands_of(evidence)
    for ack in evidence.ledger.acknowledged:
        message = ack.message
        if ack.offset is not None and ack.partition is not None:
            there = places.get((ack.partition, ack.offset)) == message.value
        else:
            found = good.get(f"{message.order_id}/{message.command_id}")
            there = ack.command_id == message.command_id and _is_as_posted(found, message)
        if not there:
            text = f"acknowledged {message.kind} by {message.via} is not on the topic"
            yield Violation("acknowledged is on the topic", message.order_id, text)


def _is_as_posted(found: Command | None, message: Message) -> bool:
    """Tell whether a command says what was posted, and nothing else."""
    if found is None:
        return False
    said = {name: value for name, value in found.body.items() if value is not None}
    return bool(said == json.loads(message.value))


def only_what_was_sent(evidence: Evidence) -> Iterator[Violation]:
    """No command stands on the topic that the driver did not send, and the API turned none away."""
    name = "only what was sent"
    ledger = evidence.ledger
    sent = [*(a.message for a in ledger.acknowledged), *(message for message, _ in ledger.unclear)]
    values = {message.value for message in sent if message.via == "kafka"}
    posted = {f"{m.order_id}/{m.command_id}" for m in sent if m.via == "rest"}
    for record in evidence.commands:
        if record.value not in values and _names(record) not in posted:
            yield Violation(name, record.place, f"nobody sent {record.value[:200]!r}")
    for message, answer in ledger.turned_away:
        yield Violation(name, message.order_id, f"the API turned {message.kind} away: {answer}")


def _names(record: Record) -> str:
    """Return ``order_id/command_id`` of a record that the API wrote."""
    body = json.loads(record.value)
    return f"{body['order_id']}/{body.get('command_id')}"


def one_outcome(evidence: Evidence) -> Iterator[Violation]:
    """Every command is exactly one event of a fitting type, every poison record a dead letter."""
    name = "exactly one outcome"
    good, bad = commands_of(evidence)
    outcomes: dict[str, list[str]] = defaultdict(list)
    for event in _all_events(evidence):
        if event.command_id is not None:
            outcomes[f"{event.order_id}/{event.command_id}"].append(event.type)
    buried = Counter(_origin(record) for record in evidence.dead_letters)
    for command_key, command in good.items():
        types = outcomes.pop(command_key, [])
        fitting = {REFUSED, _APPLIED_AS[command.kind]}
        if len(types) != 1 or not fitting.issuperset(types):
            yield Violation(name, command_key, f"{command.kind} has the outcomes {types}")
    for command_key, types in outcomes.items():
        yield Violation(name, command_key, f"{types} for a command nobody sent")
    for place in bad.keys() - buried.keys():
        yield Violation(name, place, "unreadable record without a dead letter")
    for place in buried.keys() - bad.keys():
        yield Violation(name, place, "dead letter of a record that is a good command")
    for place, times in buried.items():
        if times > 1 + len(evidence.faults):
            text = f"{times} dead letters of one record, and {len(evidence.faults)} faults"
            yield Violation(name, place, text)


def dead_letters_are_verbatim(evidence: Evidence) -> Iterator[Violation]:
    """A dead letter has key, value and partition of its record, and says why."""
    records = {record.place: record for record in evidence.commands}
    for letter in evidence.dead_letters:
        record = records.get(_origin(letter))
        same = record is not None and (record.key, record.value, record.partition) == (
            letter.key,
            letter.value,
            letter.partition,
        )
        if not same or not letter.headers.get("dlt.error.message"):
            yield Violation("dead letters are verbatim", letter.place, "differs from its record")


def one_life(evidence: Evidence) -> Iterator[Violation]:
    """An order that was started has exactly one life, whatever came before its start."""
    good, _ = commands_of(evidence)
    started = {command.order_id for command in good.values() if command.kind == "start"}
    for order_id in started | evidence.orders.keys():
        lives = sum(e.type == "order.received" for e in evidence.events.get(order_id, []))
        if lives != 1:
            yield Violation("one life", order_id, f"received {lives} times")


def events_without_gap(evidence: Evidence) -> Iterator[Violation]:
    """Events of an order are numbered 1, 2, 3, ... and nothing but refusals follows the end."""
    for order_id, events in evidence.events.items():
        numbers = [event.sequence for event in events]
        if numbers != list(range(1, len(numbers) + 1)):
            yield Violation("events without gap", order_id, f"the table has {numbers}")
        ends = [n for n, event in enumerate(events) if event.type in TERMINAL]
        after = [event.type for event in events[ends[0] + 1 :]] if ends else []
        if set(after) - {REFUSED}:
            yield Violation("events without gap", order_id, f"{after} after the end")


def topic_is_the_table(evidence: Evidence) -> Iterator[Violation]:
    """The topic has every event of the table and no other, in order, with the same content.

    All events of an order are in one partition, or there would be no order for a consumer. Repeats
    are what crashes leave behind, not the rule.
    """
    name = "topic is the table"
    expected = {f"{e.order_id}-{e.sequence}": e for e in _all_events(evidence)}
    states = dict(_states(evidence))
    seen: dict[str, bytes] = {}
    partitions: dict[str, int] = {}
    newest: dict[str, int] = defaultdict(int)
    for record in evidence.published:
        event_id = record.headers.get("ce_id", "")
        event = expected.get(event_id)
        if event is None:
            yield Violation(name, record.place, f"event {event_id!r} is not in the table")
            continue
        if event.sequence > newest[event.order_id] + 1:
            text = f"event {event.sequence} follows {newest[event.order_id]}"
            yield Violation(name, event.order_id, text)
        newest[event.order_id] = max(newest[event.order_id], event.sequence)
        if partitions.setdefault(event.order_id, record.partition) != record.partition:
            text = f"event {event.sequence} is in another partition than those before it"
            yield Violation(name, event.order_id, text)
        if seen.setdefault(event_id, record.value) != record.value:
            yield Violation(name, event.order_id, f"event {event.sequence} came with two contents")
        elif text := _differs(record, event, states[event_id]):
            yield Violation(name, event.order_id, f"event {event.sequence}: {text}")
    for event_id in expected.keys() - seen.keys():
        event = expected[event_id]
        text = f"event {event.sequence} ({event.type}) was never published"
        yield Violation(name, event.order_id, text)
    repeats = len(evidence.published) - len(seen)
    if repeats > max(REPEATS_LEAST, REPEATS_MOST * len(seen)):
        yield Violation(name, "topic", f"{repeats} repeats of {len(seen)} events")


def no_step_left_out(evidence: Evidence) -> Iterator[Violation]:
    """An order that shipped was received, validated, charged, prepared and dispatched before."""
    for order_id, events in evidence.events.items():
        # A shipment may be prepared more than once; the last time counts.
        last = {event.type: event.sequence for event in events}
        if "order.shipped" in last:
            numbers = [last.get(step, 0) for step in _STEPS]
            if 0 in numbers or numbers != sorted(numbers):
                text = f"shipped after {[event.type for event in events]}"
                yield Violation("no step left out", order_id, text)


def row_is_the_fold(evidence: Evidence) -> Iterator[Violation]:
    """The row of an order is what its events say."""
    for order_id, events in evidence.events.items():
        fold = _fold(events)
        row = evidence.orders.get(order_id)
        if (row is None) != (fold is None):
            yield Violation("row is the fold", order_id, f"row {row}, events say {fold}")
        if row is None or fold is None:
            continue
        is_so = {"state": row.state, "deadline": row.deadline, **row.others}
        wrong = {k: (is_so[k], v) for k, v in fold.items() if is_so[k] != v}
        if wrong:
            yield Violation("row is the fold", order_id, f"(row, events): {wrong}")


def workflow_agrees(evidence: Evidence) -> Iterator[Violation]:
    """Temporal's result is the row's state; no order without a finished workflow."""
    for order_id, row in evidence.orders.items():
        run = evidence.runs.get(order_id)
        if order_id in evidence.forgotten:
            continue
        if run is None:
            yield Violation("workflow agrees", order_id, "has no workflow")
        elif run.status != "COMPLETED" or run.result != row.state:
            text = f"workflow is {run.status} with {run.result}, the row is {row.state}"
            yield Violation("workflow agrees", order_id, text)
    for order_id, run in evidence.runs.items():
        if run.status == "RUNNING":
            yield Violation("workflow agrees", order_id, "workflow still runs")


def all_has_settled(evidence: Evidence) -> Iterator[Violation]:
    """All has settled: orders are at an end, nothing is left to publish or to read."""
    for row in evidence.orders.values():
        if row.state not in TERMINAL.values():
            yield Violation("all has settled", row.order_id, f"is {row.state}")
    if evidence.outbox or evidence.set_aside:
        text = f"{evidence.outbox} rows in the outbox, {evidence.set_aside} set aside"
        yield Violation("all has settled", "outbox", text)
    for partition, behind in evidence.lag.items():
        if behind:
            text = f"{behind} records not committed"
            yield Violation("all has settled", f"partition {partition}", text)


def nothing_unexpected(evidence: Evidence) -> Iterator[Violation]:
    """No process ended by itself, none wrote a traceback."""
    for text in evidence.unexpected:
        yield Violation("processes behave", text.partition(":")[0], text)


def _all_events(evidence: Evidence) -> Iterator[EventRow]:
    for events in evidence.events.values():
        yield from events


def _origin(record: Record) -> str:
    parts = ("topic", "partition", "offset")
    return "-".join(record.headers.get(f"dlt.original.{part}", "?") for part in parts)


def _differs(record: Record, event: EventRow, state: str | None) -> str:
    """Return in which point a record is not its event, empty when it is.

    ``state``: of the order after the event.
    """
    body = json.loads(record.value)
    same = {
        "key": (record.key, event.order_id.encode()),
        "ce_type": (record.headers.get("ce_type"), event.type),
        "type": (body["type"], event.type),
        "order_id": (body["order_id"], event.order_id),
        "sequence": (body["sequence"], event.sequence),
        "at": (datetime.fromisoformat(body["at"]), event.at),
        "state": (body["state"], state),
        "command_id": (body.get("command_id"), event.command_id),
        "data": (body["data"], event.data),
    }
    return ", ".join(f"{k} is {a!r}, not {b!r}" for k, (a, b) in same.items() if a != b)


def _states(evidence: Evidence) -> Iterator[tuple[str, str | None]]:
    """Yield by ``order_id-sequence`` the state after each event, ``None`` without an order."""
    for events in evidence.events.values():
        state = None
        for event in events:
            state = _STATE_AFTER.get(event.type, state)
            yield f"{event.order_id}-{event.sequence}", state


def _fold(events: list[EventRow]) -> dict[str, Any] | None:
    """Return the columns of an order's row as its events tell them, ``None`` without an order."""
    if not any(event.type == "order.received" for event in events):
        return None
    fold: dict[str, Any] = dict.fromkeys(_NOT_YET)
    for event in events:
        fold["state"] = _STATE_AFTER.get(event.type, fold.get("state"))
        if fold["state"]:
            fold["sequence"] = event.sequence
        if event.type in _STATE_AFTER:
            fold["reason"] = event.data.get("reason")
        if "deadline" in event.data:
            fold["deadline"] = datetime.fromisoformat(event.data["deadline"])
        if event.type in ("order.received", "order.address_updated"):
            fold["address"] = event.data["address"]
        for name in ("items", "payment_id", "shipment_id", "tracking_number"):
            if name in event.data:
                fold[name] = event.data[name]
        if event.type == "order.validated":
            fold |= {"amount": event.data["amount"], "currency": event.data["currency"]}
    return fold


Check = Callable[[Evidence], Iterator[Violation]]
