"""Settings that no other test shares, and the means to write and follow commands."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from devstack import Endpoints, Stack
from ingest.settings import Settings
from ingest.topics import create_topics
from persistence.migrate import migrate
from persistence.pool import open_pool
from tests.chaos.links import Link
from tests.chaos.servers import LinkedStack, kafka_link
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


@dataclass(frozen=True)
class OwnServers:
    """Servers that a test may kill or freeze, and a link to each; they keep their data."""

    stack: Stack
    links: dict[str, Link]


@pytest.fixture(scope="package")
async def own_servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnServers]:
    """For those tests that break servers; whoever does brings them back."""
    async with AsyncExitStack() as exits:
        port, kafka = kafka_link("ingest", set())
        await exits.enter_async_context(kafka)
        stack = LinkedStack(tmp_path_factory.mktemp("own"), print, {port: kafka})
        await exits.enter_async_context(stack)
        await migrate(stack.endpoints.db_url)
        temporal = Link("temporal", stack.endpoints.temporal_host, stack.endpoints.temporal_port)
        postgres = Link("postgres", "127.0.0.1", urlsplit(stack.endpoints.db_url).port or 0)
        for link in (temporal, postgres):
            await exits.enter_async_context(link)
        yield OwnServers(stack, {"temporal": temporal, "postgres": postgres, "kafka": kafka})


@pytest.fixture
async def own_settings(own_servers: OwnServers, unique: Callable[[str], str]) -> Settings:
    """Straight to these servers, with topics of this test's own."""
    endpoints = own_servers.stack.endpoints
    values = {name.lower(): value for name, value in endpoints.as_env().items()}
    names = ("commands_topic", "events_topic", "dead_letter_topic", "order_task_queue")
    for name in (*names, "shipping_task_queue", "kafka_group_id"):
        values[name] = unique(name.replace("_", "-"))[:99]
    topics = (values["commands_topic"], values["events_topic"], values["dead_letter_topic"])
    await create_topics(endpoints.kafka_bootstrap, *topics)
    return Settings.model_validate(values)


@pytest.fixture
async def own_db(own_settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """The database of these servers, shared by their tests."""
    pool = await open_pool(own_settings.db_url, "tests", size=4)
    yield pool
    await pool.close()
