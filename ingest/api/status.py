"""What a command has come to, from the audit trail, the dead letters and the topic."""

from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Final

from pydantic import BaseModel, Field

from domain.states import State
from ingest.api.outcomes import Outcomes
from ingest.api.problems import Problem, not_found
from ingest.api.sightings import Sighting, Sightings
from orchestration.contract import ALREADY_STARTED
from persistence.queries import Outcome

REFUSED: Final = "order.command_rejected"

COMMAND_OF: Final = {
    "order.received": "start",
    "order.cancelled": "cancel",
    "order.address_updated": "update-address",
    "order.approved": "approve",
    "order.rejected": "reject",
}
"""The command that an event carries out."""


class Stage(StrEnum):
    """How far a command is; all but ``pending`` are its end.

    ``duplicate`` is the start of an order that another command had started before.
    """

    PENDING = "pending"
    APPLIED = "applied"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    DEAD_LETTERED = "dead-lettered"


class Cause(BaseModel):
    """The event that a command caused."""

    type: Annotated[str, Field(examples=["order.received"])]
    sequence: int
    at: datetime
    state: State | None


class Place(BaseModel):
    """Where the command stands on its topic."""

    topic: str
    partition: int
    offset: int


class CommandStatus(BaseModel):
    """What became of a command."""

    command_id: Annotated[str, Field(examples=["0b9c0f5e-6d0e-4a0c-9a8b-3c1e5a7d9f10"])]
    status: Stage
    type: Annotated[str | None, Field(examples=["start"])] = None
    order_id: Annotated[str | None, Field(examples=["A-1"])] = None
    reason: Annotated[str | None, Field(description="why it was refused or set aside")] = None
    event: Cause | None = None
    record: Place | None = None
    links: dict[str, str]


async def status_of(
    outcomes: Outcomes, sightings: Sightings, command_id: str, order_id: str | None = None
) -> CommandStatus | None:
    """Return what is known of a command, or ``None`` when it is nothing.

    Raises ``Problem`` 409 when the id was used on several orders and none is named.
    """
    found = [
        outcome
        for outcome in await outcomes.find(command_id)
        if order_id in (None, outcome.order_id)
    ]
    if len(found) > 1:
        orders = ", ".join(outcome.order_id for outcome in found)
        text = f"command id {command_id} was used on orders {orders}: add ?order_id="
        raise Problem(HTTPStatus.CONFLICT, "ambiguous", text)
    if found:
        return _ended(found[0])
    sighting = sightings.find(command_id)
    if sighting is None or order_id not in (None, sighting.order_id):
        return None
    return seen(sighting)


def unknown(command_id: str) -> Problem:
    """Return the problem of a command that nothing is known of."""
    return not_found(
        f"command {command_id} is neither on the topic nor in the audit trail: it was never "
        "accepted, or its id is another",
        command_id=command_id,
    )


def _ended(outcome: Outcome) -> CommandStatus:
    event = outcome.recorded
    kind, reason = COMMAND_OF.get(event.type), outcome.data.get("reason")
    stage = Stage.APPLIED
    if event.type == REFUSED:
        kind = outcome.data["command_type"]
        # The order exists and this command did not start it, so another one has. Of two that come
        # at once the second may be refused before the first has made the order.
        second = kind == "start" and (
            event.state is not None or str(reason).startswith(ALREADY_STARTED)
        )
        stage = Stage.DUPLICATE if second else Stage.REJECTED
    return CommandStatus(
        command_id=outcome.command_id,
        status=stage,
        type=kind,
        order_id=outcome.order_id,
        reason=reason if event.type == REFUSED else None,
        event=Cause(type=event.type, sequence=event.sequence, at=event.at, state=event.state),
        links=_links(outcome.command_id, outcome.order_id),
    )


def seen(sighting: Sighting) -> CommandStatus:
    """Return the status of a command that has no event yet."""
    place = Place(topic=sighting.topic, partition=sighting.partition, offset=sighting.offset)
    return CommandStatus(
        command_id=sighting.command_id,
        status=Stage.DEAD_LETTERED if sighting.why_dead else Stage.PENDING,
        type=sighting.type,
        order_id=sighting.order_id,
        reason=sighting.why_dead,
        record=place,
        links=_links(sighting.command_id, sighting.order_id),
    )


def _links(command_id: str, order_id: str | None) -> dict[str, str]:
    links = {"self": f"/commands/{command_id}"}
    if order_id:
        links |= {
            "order": f"/orders/{order_id}/status",
            "history": f"/orders/{order_id}/history",
        }
    return links
