"""The documents for others say what the models say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from domain.commands import COMMAND
from domain.events import LEADS_TO, TYPE_OF
from persistence.schemas import documents

DOCS = Path(__file__).parents[3] / "docs"


def test_the_generated_documents_are_up_to_date() -> None:
    generated = documents()
    there = {str(path.relative_to(DOCS)) for path in DOCS.glob("schemas/*/*.json")}
    assert there | {"asyncapi.json"} == generated.keys(), "run: python -m persistence.schemas docs"
    for name, text in generated.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, (
            f"{name} differs: run python -m persistence.schemas docs"
        )


def test_every_event_and_command_has_a_schema_with_its_own_id() -> None:
    ids = {json.loads(text).get("$id") for text in documents().values()}
    assert {f"urn:order-lifecycle:event:{name}" for name in LEADS_TO} <= ids
    commands = {"start", "cancel", "update-address", "approve", "reject"}
    assert {f"urn:order-lifecycle:command:{name}" for name in commands} <= ids


@pytest.mark.parametrize("name", documents())
def test_every_reference_leads_somewhere(name: str) -> None:
    document = json.loads(documents()[name])
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', documents()[name]):
        place: Any = document
        for part in reference.split("/"):
            place = place[part]


def test_type_is_required_on_the_wire() -> None:
    for name, text in documents().items():
        if name.startswith("schemas/"):
            assert "type" in json.loads(text)["required"], name
    with pytest.raises(ValueError, match="type"):
        COMMAND.validate_python({"order_id": "A-1", "reason": "r", "cancelled_by": "c"})


def test_the_page_for_consumers_names_every_type_and_its_data() -> None:
    page = (DOCS / "events.md").read_text()
    rows = dict(re.findall(r"^\| `(order\.\w+)` \| (.+) \|$", page, re.MULTILINE))
    assert rows.keys() == LEADS_TO.keys()
    for model, name in TYPE_OF.items():
        state = LEADS_TO[name] or "unchanged"
        assert rows[name].startswith(state), name
        for field, info in model.model_fields.items():
            assert f"`{field}`" in rows[name] or not info.is_required(), (name, field)
