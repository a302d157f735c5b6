"""Writes the wire formats down for others: JSON Schemas and an AsyncAPI 3 document.

    python -m persistence.schemas docs

Everything comes from the models, so that a test can compare. Source: AsyncAPI 3.0.0, JSON
Schema 2020-12, CloudEvents 1.0.2 with its Kafka protocol binding.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, TypeAdapter

from domain.commands import Command
from domain.events import LEADS_TO, Event
from persistence.cloudevents import SCHEMA_PREFIX, SOURCE

COMMAND_PREFIX: Final = "urn:order-lifecycle:command:"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_COMPONENTS: Final = "#/components/schemas/"


def documents() -> dict[str, str]:
    """Return the text of each generated file by its path below the directory of docs."""
    files = {"asyncapi.json": _asyncapi()}
    for kind, prefix, models in (
        ("events", SCHEMA_PREFIX, _event_models()),
        ("commands", COMMAND_PREFIX, _command_models()),
    ):
        for name, model in models.items():
            schema = _schema(model, "#/$defs/")
            files[f"schemas/{kind}/{name}.json"] = {
                "$schema": DIALECT,
                "$id": prefix + name,
                **schema,
                "title": name,
            }
    return {
        path: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for path, document in files.items()
    }


def write(directory: Path) -> None:
    """Write all files, and remove generated ones that are no longer generated."""
    texts = documents()
    for path in directory.glob("schemas/*/*.json"):
        if str(path.relative_to(directory)) not in texts:
            path.unlink()
    for name, text in texts.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _event_models() -> dict[str, type[BaseModel]]:
    union = get_args(Event)[0]
    models = {model.model_fields["type"].annotation: model for model in get_args(union)}
    return {get_args(literal)[0]: model for literal, model in models.items()}


def _command_models() -> dict[str, type[BaseModel]]:
    return {model.model_fields["type"].default: model for model in get_args(Command)}


def _schema(model: type[BaseModel], definitions: str) -> dict[str, Any]:
    """Return a model's JSON Schema; ``type`` has a default in Python and none on the wire."""
    schema = TypeAdapter(model).json_schema(ref_template=definitions + "{model}")
    schema["properties"]["type"].pop("default", None)
    schema["required"] = ["type", *(name for name in schema["required"] if name != "type")]
    return schema


def _asyncapi() -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for name, model in _command_models().items():
        messages[name] = _message(name, model, schemas)
    for name, model in _event_models().items():
        messages[name] = _message(name, model, schemas) | {
            "headers": {"$ref": _COMPONENTS + "CloudEventHeaders"},
            "correlationId": {"$ref": "#/components/correlationIds/command"},
        }
    schemas["CloudEventHeaders"] = _cloudevent_headers()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Order lifecycle",
            "version": "1.0.0",
            "description": "Commands to orders, and the events of what became of them. "
            "docs/events.md says what a consumer may rely on.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "commands": _channel("orders.commands", "What is asked of orders.", _command_models()),
            "events": _channel("orders.events", "What has happened to orders.", _event_models()),
        },
        "operations": {
            "receiveCommand": {
                "action": "receive",
                "channel": {"$ref": "#/channels/commands"},
                "summary": "Every command has exactly one outcome, told as an event.",
            },
            "sendEvent": {
                "action": "send",
                "channel": {"$ref": "#/channels/events"},
                "summary": "In order per order id, at least once.",
            },
        },
        "components": {
            "messages": messages,
            "schemas": dict(sorted(schemas.items())),
            "correlationIds": {
                "command": {
                    "description": "The command that caused the event.",
                    "location": "$message.payload#/command_id",
                }
            },
        },
    }


def _channel(address: str, description: str, models: dict[str, type[BaseModel]]) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in models},
        "bindings": {"kafka": {"topic": address, "bindingVersion": "0.5.0"}},
    }


def _message(name: str, model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    """Describe one message; what its schema refers to goes to ``schemas``."""
    payload = _schema(model, _COMPONENTS)
    schemas |= payload.pop("$defs", {})
    payload["title"] = name
    leads_to = LEADS_TO.get(name)
    return {
        "name": name,
        "title": name,
        "summary": f"The order is {leads_to} after it." if leads_to else f"{name}.",
        "contentType": "application/json",
        "payload": payload,
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": "The order id."},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _cloudevent_headers() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "CloudEvents 1.0, binary mode.",
        "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "content-type"],
        "properties": {
            "ce_specversion": {"const": "1.0"},
            "ce_id": text | {"description": "{order_id}-{sequence}: the same in every repeat"},
            "ce_type": {"enum": list(LEADS_TO)},
            "ce_source": {"const": SOURCE},
            "ce_subject": text | {"description": "The order id."},
            "ce_time": text | {"format": "date-time"},
            "ce_dataschema": text | {"description": f"{SCHEMA_PREFIX}<type>, the schema's $id"},
            "content-type": {"const": "application/json"},
            "traceparent": text | {"description": "W3C Trace Context, where there is one."},
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="where the docs are")
    write(parser.parse_args().directory)
