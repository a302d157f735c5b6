"""Checks of what commands led to: done as they asked, and not refused without need."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.chaos.checks import REFUSED, TERMINAL, Violation, commands_of
from tests.chaos.evidence import EventRow, Evidence
from tests.chaos.ledger import Story
from tests.chaos.stories import EARLY_TTL_SECONDS

_SAYS: Final = {
    "order.received": ("initial_address", "address"),
    "order.address_updated": ("new_address", "address"),
    "order.cancelled": ("reason", "reason"),
    "order.approved": ("reviewed_by", "reviewed_by"),
    "order.rejected": ("reviewed_by", "reviewed_by"),
}
"""A field of the command, and the field of its event that repeats it."""


_ASKED_FOR: Final = _SAYS.keys() - {"order.rejected"}
"""Validation and the bank reject, too."""

_CHANGES: Final = ("cancel", "update-address")

_EARLY: Final = timedelta(seconds=EARLY_TTL_SECONDS) - timedelta(seconds=0.5)
"""How long a command waits for its order's start; less what two clocks may differ."""


def done_as_asked(evidence: Evidence) -> Iterator[Violation]:
    """The event that a command became says what the command said; a refusal says why.

    What only a command can bring about has one, or a refused command was carried out all the same.
    """
    name = "done as asked"
    for order_id, events in evidence.events.items():
        for event in events:
            if event.type in _ASKED_FOR and event.command_id is None:
                yield Violation(name, order_id, f"{event.type}, and nobody asked for it")
    commands, _ = commands_of(evidence)
    for event in _answers(evidence):
        command = commands.get(f"{event.order_id}/{event.command_id}")
        if command is None:
            continue  # found by another check
        body = command.body
        if event.type == REFUSED:
            fits = event.data.get("command_type") == command.kind and event.data.get("reason")
        else:
            asked, answered = _SAYS[event.type]
            fits = body.get(asked) == event.data.get(answered)
        if not fits:
            text = f"{event.type} says {event.data}, the command {body}"
            yield Violation(name, event.order_id, text)
    for story in evidence.ledger.stories:
        if text := _ended_otherwise(story, evidence):
            yield Violation(name, story.order_id, f"'{story.name}' was {text}")


def _ended_otherwise(story: Story, evidence: Evidence) -> str:
    """Return how an order ended against its story, empty when it did not.

    A person may be asked for a decision in vain, when it came before its order, and that was late.
    """
    row = evidence.orders.get(story.order_id)
    if row is None:
        return ""
    asked = any(e.type == "order.review_requested" for e in evidence.events.get(story.order_id, []))
    turned_down = story.expected == "shipped" and row.state == "rejected" and not asked
    got_through = story.expected == "unshipped" and row.state == "shipped"
    return row.state if turned_down or got_through else ""


def refused_with_need(evidence: Evidence) -> Iterator[Violation]:
    """Commands are refused only when it is too late, or there is no order.

    A cancel and a change of address: in an order that was shipped it is too late once the shipment
    has been prepared, as it is on its way to no other end before. Where nobody decided, all that
    came was refused only when the time to decide was over. Where there is no order, each has
    waited its time for a start.
    """
    commands, _ = commands_of(evidence)
    for order_id, events in evidence.events.items():
        row = evidence.orders.get(order_id)
        before: set[str] = set()
        for event in events:
            before.add(event.type)
            kind = event.data.get("command_type")
            if event.type != REFUSED or kind == "start":
                continue
            command = commands.get(f"{order_id}/{event.command_id}")
            if "order.received" not in before:
                needless = command is not None and event.at - command.at < _EARLY
                text = "at once, instead of waiting for a start"
            elif row is not None and row.state == "shipped":
                needless = kind in _CHANGES and "order.shipment_prepared" not in before
                text = "before the shipment was prepared"
            else:
                needless = event.at < _decide_by(events)
                text = "while a person was asked"
            if needless:
                yield Violation("refused with need", order_id, f"{kind} was refused {text}")


def _decide_by(events: list[EventRow]) -> datetime:
    """Return until when an order waited for a person in vain; long ago for any other order."""
    asked = [event for event in events if event.type == "order.review_requested"]
    ends = [event for event in events if event.type in TERMINAL]
    in_vain = asked and ends and ends[0].type == "order.rejected" and ends[0].command_id is None
    if not in_vain or "order.approved" in {event.type for event in events}:
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromisoformat(asked[0].data["decide_by"])


def _answers(evidence: Evidence) -> Iterator[EventRow]:
    for events in evidence.events.values():
        yield from (event for event in events if event.command_id is not None)
