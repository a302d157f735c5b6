"""Orders as they stand: the list, the status of one, and its history."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from domain.events import Event
from domain.model import Address, Item, OrderId
from domain.payments import PaymentStatus
from domain.states import TERMINAL, State
from ingest.api.commands import OrderInPath
from ingest.api.parts import Parts, PartsOf
from ingest.api.problems import documented, not_found
from orchestration.contract import Status, workflow_id
from persistence.payments import Payment
from persistence.queries import Order, history, list_orders, order_and_payment

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 500

STEP_OF: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.RECEIVED: "validate",
        State.VALIDATED: "charge",
        State.IN_REVIEW: "review",
        State.APPROVED: "charge",
        State.CHARGED: "prepare",
        State.SHIPMENT_PREPARED: "dispatch",
        State.DISPATCH_FAILED: "prepare",
        State.DISPATCHED: "confirm",
        State.REFUNDED: "settle",
    }
)
"""The step that follows a state: what is told when the workflow itself does not answer."""

router = APIRouter(tags=["orders"])
_READ_PROBLEMS: Final = documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
_ONE_PROBLEMS: Final = documented(HTTPStatus.NOT_FOUND) | _READ_PROBLEMS
_PAGE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A page",
        "headers": {
            "Link": {
                "description": "The next page, where there is one (`rel=next`)",
                "schema": {"type": "string"},
            }
        },
    }
}


class PaymentView(BaseModel):
    """The order's payment; `amount` in minor units of `currency`."""

    payment_id: str
    status: PaymentStatus
    amount: int
    currency: str


class OrderSummary(BaseModel):
    """An order in a list; `amount` in minor units of `currency`."""

    order_id: Annotated[str, Field(examples=["A-1"])]
    state: State
    amount: int | None
    currency: str | None
    reason: Annotated[str | None, Field(description="why it ended, or waits")]
    received_at: AwareDatetime
    updated_at: AwareDatetime
    links: dict[str, str]


class OrderStatus(OrderSummary):
    """An order with its running step.

    `attempts` and `last_error` are the running step's failed tries. `live` is false when the
    workflow did not answer within moments: the step is then what follows the state.
    """

    step: Annotated[str | None, Field(examples=["charge"])]
    attempts: int
    last_error: str | None
    live: bool
    deadline: AwareDatetime
    decide_by: Annotated[AwareDatetime | None, Field(description="while a reviewer is asked")]
    seconds_left: Annotated[
        float | None, Field(description="until `decide_by` or `deadline`; null once ended")
    ]
    address: Address
    items: list[Item] | None
    payment: PaymentView | None
    shipment_id: str | None
    tracking_number: str | None
    events: Annotated[int, Field(description="sequence of its newest event")]


class OrderPage(BaseModel):
    """Orders by id; `next` leads to the following page, null on the last one."""

    orders: list[OrderSummary]
    next: Annotated[str | None, Field(examples=["/orders?limit=50&after=A-50"])]


class HistoryEvent(BaseModel):
    """An event of the audit trail; `seconds` have passed since the one before."""

    type: Annotated[str, Field(examples=["order.received"])]
    order_id: str
    sequence: int
    at: AwareDatetime
    state: State | None
    command_id: str | None
    data: dict[str, Any]
    seconds: Annotated[float | None, Field(description="since the previous event")]


class History(BaseModel):
    """The audit trail of an order id, oldest first; `next` leads to what follows."""

    order_id: str
    events: list[HistoryEvent]
    next: str | None


class ListQuery(BaseModel):
    """Which orders, and from where."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[State | None, Field(description="only orders in this state")] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, description="entries of a page")] = PAGE_DEFAULT
    after: Annotated[OrderId | None, Field(description="the last order id already seen")] = None


class HistoryQuery(BaseModel):
    """Which part of a history."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, description="entries of a page")] = PAGE_MAX
    after: Annotated[int, Field(ge=0, le=2**31, description="the last sequence already seen")] = 0


@router.get("/orders", summary="Orders by id, a page at a time", responses=_PAGE | _READ_PROBLEMS)
async def get_orders(
    parts: PartsOf, query: Annotated[ListQuery, Query()], response: Response
) -> OrderPage:
    """All orders, or those in one state. `next` (and the header Link) lead to the next page."""
    orders = await parts.read(
        list_orders(parts.pool, query.state, query.after or "", query.limit + 1)
    )
    page, following = orders[: query.limit], None
    if len(orders) > query.limit:
        given = {"state": query.state, "limit": query.limit, "after": page[-1].order_id}
        following = _next(response, "/orders", given)
    summaries = [OrderSummary(**_summary(order)) for order in page]
    return OrderPage(orders=summaries, next=following)


@router.get(
    "/orders/{order_id}/status",
    summary="Where an order is",
    response_description="The order",
    responses=_ONE_PROBLEMS,
)
async def get_status(parts: PartsOf, order_id: OrderInPath) -> OrderStatus:
    """State, running step with its retries, time left, address and payment of one order."""
    order, payment = await parts.read(order_and_payment(parts.pool, order_id))
    if order is None:
        raise _unknown(order_id)
    live = None if order.state in TERMINAL else await parts.live.status(order_id)
    return _status(order, payment, live, parts)


@router.get(
    "/orders/{order_id}/history",
    summary="What happened to it",
    responses=_PAGE | _ONE_PROBLEMS,
)
async def get_history(
    parts: PartsOf,
    order_id: OrderInPath,
    query: Annotated[HistoryQuery, Query()],
    response: Response,
) -> History:
    """The audit trail with the time between steps; also of ids that never became an order."""
    known = min(query.after, 1)  # the last event already seen, for the time since then
    found = await parts.read(
        history(parts.pool, order_id, query.after - known, query.limit + known + 1)
    )
    begins = found or (query.after and await parts.read(history(parts.pool, order_id, 0, 1)))
    if not begins:
        raise _unknown(order_id)
    events = [event for event in _timed(found) if event.sequence > query.after]
    page, following = events[: query.limit], None
    if len(events) > query.limit:
        given = {"limit": query.limit, "after": page[-1].sequence}
        following = _next(response, f"/orders/{quote(order_id)}/history", given)
    return History(order_id=order_id, events=page, next=following)


def _timed(events: Sequence[Event]) -> list[HistoryEvent]:
    before = [None, *(event.at for event in events)]
    return [
        HistoryEvent(**event.model_dump(), seconds=(event.at - at).total_seconds() if at else None)
        for event, at in zip(events, before, strict=False)
    ]


def _next(response: Response, path: str, given: Mapping[str, object]) -> str:
    set_values = {name: value for name, value in given.items() if value is not None}
    link = f"{path}?{urlencode(set_values)}"
    response.headers["Link"] = f'<{link}>; rel="next"'
    return link


def _summary(order: Order) -> dict[str, Any]:
    path = f"/orders/{quote(order.order_id)}"
    return {
        "order_id": order.order_id,
        "state": order.state,
        "amount": order.amount,
        "currency": order.currency,
        "reason": order.reason,
        "received_at": order.received_at,
        "updated_at": order.updated_at,
        "links": {"self": f"{path}/status", "history": f"{path}/history"},
    }


def _status(
    order: Order, payment: Payment | None, live: Status | None, parts: Parts
) -> OrderStatus:
    fields = _summary(order)
    fields["links"]["temporal_ui"] = parts.temporal_ui + workflow_id(order.order_id)
    ended = order.state in TERMINAL
    until = order.decide_by or order.deadline
    left = None if ended else round((until - datetime.now(UTC)).total_seconds(), 3)
    return OrderStatus(
        **fields,
        step=_step(order, live),
        attempts=live.attempts if live else 0,
        last_error=live.last_error if live else None,
        live=live is not None,
        deadline=order.deadline,
        decide_by=order.decide_by,
        seconds_left=left,
        address=Address(**order.address),
        items=[Item(**item) for item in order.items] if order.items else None,
        payment=_payment(payment) if payment else None,
        shipment_id=order.shipment_id,
        tracking_number=order.tracking_number,
        events=order.sequence,
    )


def _step(order: Order, live: Status | None) -> str | None:
    """Return the step that runs, or that follows where nothing but a write is under way."""
    waits = order.state is State.IN_REVIEW or live is None or live.step in (None, "record")
    return STEP_OF.get(order.state) if waits or live is None else live.step


def _payment(payment: Payment) -> PaymentView:
    return PaymentView(
        payment_id=payment.payment_id,
        status=payment.status,
        amount=payment.amount,
        currency=payment.currency,
    )


def _unknown(order_id: str) -> Exception:
    return not_found(
        f"order {order_id} is unknown; a start that was accepted may still be waiting: "
        "see /commands/{command_id}",
        order_id=order_id,
    )
