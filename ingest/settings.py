"""Every setting of the service: read once at the edge, passed on, read nowhere else."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class BadSetting(Exception):
    """A setting has a value that cannot work; the text names variable, value and remedy."""


# A topic is the first part of default command ids, hence stricter than Kafka's own rule.
_TOPIC: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _topic(name: str) -> str:
    if not _TOPIC.fullmatch(name):
        raise ValueError("letters, digits and . _ - only, a letter or digit first, 100 at most")
    return name


def _postgresql(url: str) -> str:
    if urlsplit(url).scheme not in ("postgresql", "postgres"):
        raise ValueError("must begin with postgresql://")
    return url


def _http(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address like http://localhost:8000")
    return url.rstrip("/")


Port = Annotated[int, Field(ge=1, le=65535)]
Topic = Annotated[str, AfterValidator(_topic)]
Url = Annotated[str, AfterValidator(_http)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]


class Settings(BaseSettings):
    """The variables of ``env.example``; ``.env`` in the working directory is read as well.

    While ``orders up`` runs there, its addresses in force win over ``.env``, so that the other
    commands find it on whatever ports it has. A variable of the environment wins over both.
    """

    model_config = SettingsConfigDict(
        env_file=(".env", ".stack/endpoints.env"), extra="ignore", frozen=True
    )

    db_url: Annotated[str, AfterValidator(_postgresql)] = (
        "postgresql://orders:orders@localhost:5432/orders"
    )

    temporal_host: Name = "localhost"
    temporal_port: Port = 7233
    temporal_namespace: Name = "default"
    order_task_queue: Name = "order-tq"
    shipping_task_queue: Name = "shipping-tq"
    workflow_timeout_seconds: Seconds = 15

    kafka_bootstrap_servers: Name = "localhost:9092"
    commands_topic: Topic = "orders.commands"
    events_topic: Topic = "orders.events"
    dead_letter_topic: Topic = "orders.commands-dlt"
    kafka_group_id: Name = "order-ingest"

    review_policy: Literal["auto", "manual", "above"] = "above"
    review_above: Annotated[int, Field(ge=0)] = 50_000
    review_timeout_seconds: Annotated[int, Field(ge=0)] = 3600
    early_command_ttl_seconds: Seconds = 60
    max_orders_in_motion: Annotated[int, Field(ge=1, le=100_000)] = 200

    api_url: Url = "http://localhost:8000"
    api_host: Name = "127.0.0.1"
    api_port: Port = 8000
    board_host: Name = "127.0.0.1"
    board_port: Port = 8090
    temporal_ui_url: Url = "http://localhost:8080"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0

    log_format: Literal["console", "json"] = "console"

    gateway_mode: Literal["simulated", "http"] = "simulated"
    simulated_faults: Literal["none", "flaky"] = "none"
    simulated_seed: Annotated[int, Field(ge=0)] = 0
    sales_url: Url = "http://localhost:8101"
    screening_url: Url = "http://localhost:8102"
    payments_url: Url = "http://localhost:8103"
    warehouse_url: Url = "http://localhost:8104"
    carrier_url: Url = "http://localhost:8105"


def load_settings() -> Settings:
    """Read environment and ``.env``; raise ``BadSetting`` with one line for each bad value."""
    try:
        return Settings()
    except ValidationError as error:
        raise BadSetting("\n".join(_line(detail) for detail in error.errors())) from None
    except UnicodeDecodeError as error:
        raise BadSetting(f"a file of settings (.env) is not UTF-8: {error}") from None


def _line(detail: Mapping[str, Any]) -> str:
    name = str(detail["loc"][0]).upper()
    text = detail["msg"].removeprefix("Value error, ")
    return f"{name}={detail['input']!s}: {text[0].lower()}{text[1:]}"
