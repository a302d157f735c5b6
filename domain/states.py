"""The states of an order and which may follow which."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where an order is on its road; the last four are its ends."""

    RECEIVED = "received"
    VALIDATED = "validated"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    CHARGED = "charged"
    SHIPMENT_PREPARED = "shipment_prepared"
    DISPATCH_FAILED = "dispatch_failed"
    DISPATCHED = "dispatched"
    REFUNDED = "refunded"
    SHIPPED = "shipped"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FAILED = "failed"


TERMINAL: Final = frozenset({State.SHIPPED, State.REJECTED, State.CANCELLED, State.FAILED})

_GIVEN_UP = frozenset({State.CANCELLED, State.FAILED})

MAY_BECOME: Final[Mapping[State | None, frozenset[State]]] = MappingProxyType(
    {
        None: frozenset({State.RECEIVED}),
        State.RECEIVED: _GIVEN_UP | {State.VALIDATED, State.REJECTED},
        State.VALIDATED: _GIVEN_UP | {State.IN_REVIEW, State.CHARGED, State.REJECTED},
        State.IN_REVIEW: _GIVEN_UP | {State.APPROVED, State.REJECTED},
        State.APPROVED: _GIVEN_UP | {State.CHARGED, State.REJECTED},
        State.CHARGED: frozenset({State.SHIPMENT_PREPARED, State.DISPATCH_FAILED, State.REFUNDED}),
        State.SHIPMENT_PREPARED: frozenset(
            {State.SHIPMENT_PREPARED, State.DISPATCHED, State.DISPATCH_FAILED, State.REFUNDED}
        ),
        State.DISPATCH_FAILED: frozenset(
            {State.SHIPMENT_PREPARED, State.DISPATCH_FAILED, State.REFUNDED}
        ),
        State.DISPATCHED: frozenset({State.SHIPPED}),
        State.REFUNDED: _GIVEN_UP,
        State.SHIPPED: frozenset(),
        State.REJECTED: frozenset(),
        State.CANCELLED: frozenset(),
        State.FAILED: frozenset(),
    }
)
"""Every allowed move; ``None`` is an order that does not exist yet.

Once charged, an order ends shipped or passes through refunded: nothing else leads out.
"""


def may_become(now: State | None, then: State) -> bool:
    """Tell whether an order in state ``now`` may move to ``then``."""
    return then in MAY_BECOME[now]
