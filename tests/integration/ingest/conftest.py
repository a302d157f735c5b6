"""Settings that no other test shares, and the means to write and follow commands."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from devstack import Endpoints
from ingest.settings import Settings
from tests.integration.ingest.harness import Commands, commanding
from tests.support.topics import Topics

MakeSettings = Callable[..., Settings]


@pytest.fixture
def environment(
    endpoints: Endpoints, db_url: str, topics: Topics, unique: Callable[[str], str]
) -> dict[str, str]:
    """What role processes are told."""
    return {
        **endpoints.as_env(),
        "DB_URL": db_url,
        "COMMANDS_TOPIC": topics.commands,
        "EVENTS_TOPIC": topics.events,
        "DEAD_LETTER_TOPIC": topics.dead_letters,
        "KAFKA_GROUP_ID": unique("group"),
        "ORDER_TASK_QUEUE": unique("order-tq"),
        "SHIPPING_TASK_QUEUE": unique("shipping-tq"),
        "REVIEW_POLICY": "auto",
        "LOG_FORMAT": "json",
    }


@pytest.fixture
def make_settings(environment: dict[str, str]) -> MakeSettings:
    """Settings of this test with some changes."""

    def make(**changes: Any) -> Settings:
        values = {name.lower(): value for name, value in environment.items()}
        return Settings.model_validate({**values, **changes})

    return make


@pytest.fixture
async def commands(make_settings: MakeSettings, db: asyncpg.Pool) -> AsyncIterator[Commands]:
    """Writes commands on this test's topic."""
    async with commanding(make_settings(), db) as commands:
        yield commands
