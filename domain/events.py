"""Events: what has happened to an order. The classes are the wire format of the value.

Each event type has a class for its ``data``; ``Envelope`` is what all have in common. An event
is numbered, and its ``state`` filled in, by the write transaction.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Generic, Literal, TypeVar

from pydantic import AwareDatetime, Field, TypeAdapter

from domain.model import (
    Address,
    CommandId,
    Currency,
    Items,
    MinorUnits,
    Model,
    OrderId,
    Text,
)
from domain.states import State


class Received(Model):
    """The start was applied; the order has to be decided before ``deadline``."""

    address: Address
    deadline: AwareDatetime


class Validated(Model):
    """The order can be fulfilled; ``amount`` in minor units of ``currency``."""

    items: Items
    amount: MinorUnits
    currency: Currency


class ReviewRequested(Model):
    """A person is asked; the deadline stands still until ``decide_by`` at the latest."""

    reason: Text
    amount: MinorUnits
    currency: Currency
    decide_by: AwareDatetime


class Approved(Model):
    """A reviewer let the order pass; the time it waited was added to ``deadline``."""

    reviewed_by: Text
    reason: Text | None = None
    deadline: AwareDatetime


class PaymentCharged(Model):
    """The card was charged."""

    payment_id: Text
    amount: MinorUnits
    currency: Currency


class PaymentRefunded(Model):
    """The charge was given back in full."""

    payment_id: Text
    amount: MinorUnits
    currency: Currency
    reason: Text


class AddressUpdated(Model):
    """The order will be shipped to another address."""

    address: Address
    updated_by: Text


class ShipmentPrepared(Model):
    """The parcel is packed and carries a label with ``address``."""

    shipment_id: Text
    address: Address


class Dispatched(Model):
    """The carrier has the parcel."""

    shipment_id: Text
    tracking_number: Text


class DispatchFailed(Model):
    """The carrier did not take the parcel; the order tries again or is refunded."""

    shipment_id: Text
    reason: Text


class Shipped(Model):
    """The order ended well."""

    tracking_number: Text


class Rejected(Model):
    """Validation, the bank or a reviewer said no; nothing stays charged."""

    reason: Text
    reviewed_by: Text | None = None


class Cancelled(Model):
    """A cancel command was carried out; nothing stays charged."""

    reason: Text
    cancelled_by: Text


class Failed(Model):
    """The order could not be finished in time; nothing stays charged."""

    reason: Text


class CommandRejected(Model):
    """A command had no effect, and why. Makes no order and changes no state."""

    command_type: Text
    reason: Text


EventData = (
    Received
    | Validated
    | ReviewRequested
    | Approved
    | PaymentCharged
    | PaymentRefunded
    | AddressUpdated
    | ShipmentPrepared
    | Dispatched
    | DispatchFailed
    | Shipped
    | Rejected
    | Cancelled
    | Failed
    | CommandRejected
)

TYPE_OF: Final[Mapping[type[EventData], str]] = MappingProxyType(
    {
        Received: "order.received",
        Validated: "order.validated",
        ReviewRequested: "order.review_requested",
        Approved: "order.approved",
        PaymentCharged: "order.payment_charged",
        PaymentRefunded: "order.payment_refunded",
        AddressUpdated: "order.address_updated",
        ShipmentPrepared: "order.shipment_prepared",
        Dispatched: "order.dispatched",
        DispatchFailed: "order.dispatch_failed",
        Shipped: "order.shipped",
        Rejected: "order.rejected",
        Cancelled: "order.cancelled",
        Failed: "order.failed",
        CommandRejected: "order.command_rejected",
    }
)

LEADS_TO: Final[Mapping[str, State | None]] = MappingProxyType(
    {
        "order.received": State.RECEIVED,
        "order.validated": State.VALIDATED,
        "order.review_requested": State.IN_REVIEW,
        "order.approved": State.APPROVED,
        "order.payment_charged": State.CHARGED,
        "order.payment_refunded": State.REFUNDED,
        "order.address_updated": None,
        "order.shipment_prepared": State.SHIPMENT_PREPARED,
        "order.dispatched": State.DISPATCHED,
        "order.dispatch_failed": State.DISPATCH_FAILED,
        "order.shipped": State.SHIPPED,
        "order.rejected": State.REJECTED,
        "order.cancelled": State.CANCELLED,
        "order.failed": State.FAILED,
        "order.command_rejected": None,
    }
)
"""The state an order is in after an event of this type; ``None``: unchanged."""

TypeT = TypeVar("TypeT", bound=str)
DataT = TypeVar("DataT", bound=Model)


class Envelope(Model, Generic[TypeT, DataT]):
    """One event as it stands on the topic.

    ``sequence`` counts from 1 per order id without gap; ``state`` is the order's state after
    the event (``None`` where there is no order); ``command_id`` names the command that caused it.
    """

    type: TypeT
    order_id: OrderId
    sequence: Annotated[int, Field(ge=1)]
    at: AwareDatetime
    state: State | None
    command_id: CommandId | None = None
    data: DataT


Event = Annotated[
    Envelope[Literal["order.received"], Received]
    | Envelope[Literal["order.validated"], Validated]
    | Envelope[Literal["order.review_requested"], ReviewRequested]
    | Envelope[Literal["order.approved"], Approved]
    | Envelope[Literal["order.payment_charged"], PaymentCharged]
    | Envelope[Literal["order.payment_refunded"], PaymentRefunded]
    | Envelope[Literal["order.address_updated"], AddressUpdated]
    | Envelope[Literal["order.shipment_prepared"], ShipmentPrepared]
    | Envelope[Literal["order.dispatched"], Dispatched]
    | Envelope[Literal["order.dispatch_failed"], DispatchFailed]
    | Envelope[Literal["order.shipped"], Shipped]
    | Envelope[Literal["order.rejected"], Rejected]
    | Envelope[Literal["order.cancelled"], Cancelled]
    | Envelope[Literal["order.failed"], Failed]
    | Envelope[Literal["order.command_rejected"], CommandRejected],
    Field(discriminator="type"),
]

EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Event)
"""Validates one event of any type; ``EVENT.validate_json(record.value)`` reads the topic."""


def state_after(now: State | None, event_type: str) -> State | None:
    """Fold one event: return the order's state after it."""
    return LEADS_TO[event_type] or now
