import json
from typing import Any

import pytest
from pydantic import ValidationError

from domain.commands import COMMAND, StartOrder
from domain.model import ORDER_ID_MAX, Item, total

ADDRESS = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
START = {"type": "start", "order_id": "A-1", "initial_address": ADDRESS}


def start(**changes: Any) -> dict[str, Any]:
    return {**START, **changes}


def test_the_command_of_the_readme_is_a_start() -> None:
    command = COMMAND.validate_python(START)
    assert isinstance(command, StartOrder)
    assert command.items is None


def test_a_command_survives_its_own_wire_format() -> None:
    items = [{"sku": "S", "quantity": 2, "unit_price": 250}]
    command = COMMAND.validate_python(start(items=items, currency="USD", command_id="c-1"))
    assert COMMAND.validate_json(command.model_dump_json()) == command


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (start(order_id=""), "order_id"),
        (start(order_id="a" * (ORDER_ID_MAX + 1)), "order_id"),
        (start(order_id="a/b"), "order_id"),
        (start(order_id="a\n"), "order_id"),
        (start(order_id=7), "order_id"),
        (start(surprise=1), "surprise"),
        (start(initial_address={**ADDRESS, "zip": ""}), "zip"),
        (start(initial_address={**ADDRESS, "zip": "  "}), "zip"),
        (start(initial_address={**ADDRESS, "city": "a\x00b"}), "city"),
        (start(initial_address={**ADDRESS, "city": "\ud800"}), "city"),
        (start(initial_address={"street": "x"}), "city"),
        (start(items=[{"sku": "S", "quantity": "2", "unit_price": 1}], currency="USD"), "quantity"),
        (start(items=[{"sku": "S", "quantity": 0, "unit_price": 1}], currency="USD"), "quantity"),
        (start(items=[{"sku": "S", "quantity": 1, "unit_price": 1.5}], currency="USD"), "unit_"),
        (start(items=[], currency="USD"), "items"),
        (start(items=[{"sku": "S", "quantity": 1, "unit_price": 1}]), "currency"),
        (start(items=[{"sku": "S", "quantity": 1, "unit_price": 1}], currency="usd"), "currency"),
        ({"type": "explode", "order_id": "A-1"}, "explode"),
        ({"type": "cancel", "order_id": "A-1", "reason": "x"}, "cancelled_by"),
    ],
    ids=lambda value: json.dumps(value)[:70],
)
def test_a_bad_command_is_refused_by_the_name_of_its_field(bad: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        COMMAND.validate_python(bad)


def test_the_total_is_counted_in_minor_units() -> None:
    items = (Item(sku="a", quantity=3, unit_price=199), Item(sku="b", quantity=1, unit_price=1))
    assert total(items) == 598
