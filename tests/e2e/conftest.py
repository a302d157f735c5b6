"""A running service of each test's own."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from devstack import Endpoints
from tests.support.service import Service, running_service
from tests.support.topics import Topics


@pytest.fixture
def environment(
    endpoints: Endpoints, db_url: str, topics: Topics, unique: Callable[[str], str]
) -> dict[str, str]:
    """What the role processes are told: servers, and names that no other test uses."""
    return {
        **endpoints.as_env(),
        "DB_URL": db_url,
        "COMMANDS_TOPIC": topics.commands,
        "EVENTS_TOPIC": topics.events,
        "DEAD_LETTER_TOPIC": topics.dead_letters,
        "KAFKA_GROUP_ID": unique("group"),
        "ORDER_TASK_QUEUE": unique("order-tq"),
        "SHIPPING_TASK_QUEUE": unique("shipping-tq"),
        "LOG_FORMAT": "json",
    }


@pytest.fixture
async def service(
    environment: dict[str, str], topics: Topics, db: asyncpg.Pool, tmp_path: Path
) -> AsyncIterator[Service]:
    """Ingest, worker and relay as processes."""
    async with running_service(environment, topics, db, tmp_path) as running:
        yield running
