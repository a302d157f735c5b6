"""Commands: what others may ask of an order. The classes are the wire format.

A command without ``command_id`` gets one from its record (``topic-partition-offset``) before
it goes any further, so that a redelivery is the same command.
"""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationInfo, field_validator
from pydantic.config import JsonDict

from domain.model import Address, CommandId, Currency, Items, Model, OrderId, Text


class CommandBase(Model):
    """What every command has."""

    order_id: OrderId
    command_id: CommandId | None = None


_BOTH_OR_NEITHER: Final[JsonDict] = {
    "anyOf": [
        {
            "required": ["items", "currency"],
            "properties": {"items": {"type": "array"}, "currency": {"type": "string"}},
        },
        {"properties": {"items": {"type": "null"}, "currency": {"type": "null"}}},
    ]
}


class StartOrder(CommandBase):
    """Start the order. Without ``items`` the receive partner knows what was ordered."""

    model_config = ConfigDict(json_schema_extra=_BOTH_OR_NEITHER)

    type: Literal["start"] = "start"
    initial_address: Address
    items: Items | None = None
    currency: Annotated[Currency | None, Field(validate_default=True)] = None

    @field_validator("currency")
    @classmethod
    def _with_items(cls, currency: str | None, info: ValidationInfo) -> str | None:
        # Where the items are wrong themselves, they are not in what is valid so far.
        if "items" in info.data and (info.data["items"] is None) != (currency is None):
            raise ValueError("items and currency go together: give both or neither")
        return currency


class CancelOrder(CommandBase):
    """Cancel the order; refused once the carrier has been asked to dispatch."""

    type: Literal["cancel"] = "cancel"
    reason: Text
    cancelled_by: Text


class UpdateAddress(CommandBase):
    """Ship to another address; refused once the carrier has been asked to dispatch."""

    type: Literal["update-address"] = "update-address"
    new_address: Address
    updated_by: Text


class ApproveOrder(CommandBase):
    """A reviewer lets the order pass."""

    type: Literal["approve"] = "approve"
    reviewed_by: Text
    reason: Text | None = None


class RejectOrder(CommandBase):
    """A reviewer refuses the order."""

    type: Literal["reject"] = "reject"
    reviewed_by: Text
    reason: Text | None = None


Command = StartOrder | CancelOrder | UpdateAddress | ApproveOrder | RejectOrder

COMMAND: Final[TypeAdapter[Command]] = TypeAdapter(Annotated[Command, Field(discriminator="type")])
"""Validates one command of any type from a mapping or from JSON."""
