"""Building blocks that commands and events share: identifiers, text, addresses, items."""

import re
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:-]*$"
"""Letters, digits and ``. _ : -``: safe in a URL path, a Kafka key and a workflow id."""
ID_RULE: Final = "letters, digits and . _ : - only, a letter or digit first"
"""The pattern in words, for who gave something else."""

TEXT_PATTERN: Final = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
"""What the rules for texts come to in a JSON Schema: no control character, not blank."""

ORDER_ID_MAX: Final = 64
COMMAND_ID_MAX: Final = 128
ITEMS_MAX: Final = 200
TEXT_MAX: Final = 500
_NO_TEXT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")


def _no_control_characters(text: str) -> str:
    bad = next((c for c in text if ord(c) < 32 or ord(c) == 127), None)
    if bad is not None:
        raise ValueError(f"control character {ord(bad):#04x} is not allowed")
    return text


def is_id(text: str, longest: int) -> bool:
    """Tell whether ``text`` can be an id of at most ``longest`` characters."""
    return len(text) <= longest and re.fullmatch(ID_PATTERN, text) is not None


OrderId = Annotated[
    str, StringConstraints(min_length=1, max_length=ORDER_ID_MAX, pattern=ID_PATTERN)
]
CommandId = Annotated[
    str, StringConstraints(min_length=1, max_length=COMMAND_ID_MAX, pattern=ID_PATTERN)
]
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_MAX),
    AfterValidator(_no_control_characters),
    Field(json_schema_extra={"pattern": TEXT_PATTERN}),
]


def as_text(words: str) -> str:
    """Make a ``Text`` of what somebody else said, whatever it is: one line, cut where too long."""
    return _NO_TEXT.sub(" ", words).strip()[:TEXT_MAX].strip() or "no reason given"


Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
AMOUNT_MAX: Final = 10**15
MinorUnits = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
"""Money in the currency's smallest unit (cents); never a float."""


class Model(BaseModel):
    """Frozen, strict (no ``"1"`` for ``1``), and unknown fields are refused by name."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Address(Model):
    """Where an order is shipped to."""

    street: Text
    city: Text
    state: Text
    zip: Text


class Item(Model):
    """One line of an order; ``unit_price`` in minor units."""

    sku: Text
    quantity: Annotated[int, Field(ge=1, le=10_000)]
    unit_price: Annotated[int, Field(ge=0, le=10**9)]


def _not_too_many(items: object) -> object:
    """Refuse a long list before each of its items is looked at: that took seconds."""
    if isinstance(items, list | tuple) and len(items) > ITEMS_MAX:
        raise PydanticCustomError("too_many", "must have at most {most} items", {"most": ITEMS_MAX})
    return items


def _not_too_dear(items: tuple[Item, ...]) -> tuple[Item, ...]:
    if total(items) > AMOUNT_MAX:
        raise PydanticCustomError("too_dear", "must come to at most {most}", {"most": AMOUNT_MAX})
    return items


# Strict refuses a JSON array for a tuple once it has become a Python list, hence lax here only.
Items = Annotated[
    tuple[Item, ...],
    Field(min_length=1, max_length=ITEMS_MAX, strict=False),
    BeforeValidator(_not_too_many),
    AfterValidator(_not_too_dear),
]


def total(items: tuple[Item, ...]) -> int:
    """Return the amount of an order in minor units."""
    return sum(item.quantity * item.unit_price for item in items)
