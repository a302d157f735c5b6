"""Checks of what commands led to: done as they asked, and not refused without need."""

from collections.abc import Iterator
from typing import Final

from tests.chaos.checks import REFUSED, Violation, commands_of
from tests.chaos.evidence import EventRow, Evidence

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
        row = evidence.orders.get(story.order_id)
        if story.expected == "unshipped" and row and row.state == "shipped":
            yield Violation(name, story.order_id, f"'{story.name}' was shipped")


def refused_with_need(evidence: Evidence) -> Iterator[Violation]:
    """Cancels and changes of address are refused only when it is too late, or there is no order.

    In an order that was shipped it is too late once the shipment has been prepared: it is on its
    way to no other end before.
    """
    for order_id, events in evidence.events.items():
        row = evidence.orders.get(order_id)
        if row is None or row.state != "shipped":
            continue
        begun = False
        for event in events:
            begun = begun or event.type == "order.received"
            if event.type == "order.shipment_prepared":
                break
            refused = event.data.get("command_type") if event.type == REFUSED else None
            if begun and refused in ("cancel", "update-address"):
                text = f"{refused} was refused before the shipment was prepared"
                yield Violation("refused with need", order_id, text)


def _answers(evidence: Evidence) -> Iterator[EventRow]:
    for events in evidence.events.values():
        yield from (event for event in events if event.command_id is not None)
