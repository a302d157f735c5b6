"""The newest events of all orders, for those who watch."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from domain.model import OrderId
from ingest.api.feed import EVENTS_KEPT, parse_position, position_text
from ingest.api.parts import PartsOf
from ingest.api.problems import documented

WAIT_SECONDS_MAX: Final = 30
POSITION_PATTERN: Final = r"^[0-9]{1,9}-[0-9]{1,18}(\.[0-9]{1,9}-[0-9]{1,18}){0,255}$"
"""Bounds the length too: with a bound of its own beside the pattern, whoever makes up values by the
schema, as schemathesis does, needs minutes to find one of just that length."""

router = APIRouter(tags=["orders"])


class EventPage(BaseModel):
    """Events as they stand on the topic; `next` is the position behind them."""

    events: list[dict[str, Any]]
    next: str


class EventsQuery(BaseModel):
    """Which events, from where, and how long to wait for one."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[
        str | None,
        Field(
            pattern=POSITION_PATTERN,
            description="`next` of the last answer; without it only what comes from now on",
        ),
    ] = None
    order_id: Annotated[OrderId | None, Field(description="only of this order")] = None
    limit: Annotated[int, Field(ge=1, le=500, description="events at most")] = 100
    wait: Annotated[
        int, Field(ge=0, le=WAIT_SECONDS_MAX, description="seconds to wait for an event")
    ] = 0


@router.get(
    "/events",
    summary="The newest events",
    description=f"Events of all orders in the order in which they were published, the last "
    f"{EVENTS_KEPT} at most. Without `after` it answers at once where the topic ends; with "
    "`wait` it answers as soon as there is an event. The full trail is the history of an order.",
    response_description="Events behind the position, none where none came",
    responses=documented(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def get_events(parts: PartsOf, query: Annotated[EventsQuery, Query()]) -> EventPage:
    """Return events behind a position, waiting for one if asked."""
    given = parse_position(query.after) if query.after else None
    events, position = await parts.feed.read(given, query.order_id, query.limit, query.wait)
    return EventPage(events=events, next=position_text(position))
