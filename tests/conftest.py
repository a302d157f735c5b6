"""The servers under test, a fresh database and fresh topics for each test that asks.

``ORDERS_TEST_STACK=embedded`` (default) starts them as child processes, ``containers`` by
testcontainers; one set serves the whole run, on free ports.
"""

import os
import re
import uuid
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from devstack import Endpoints, Ports, Stack
from ingest.topics import create_topics
from persistence.migrate import migrate
from persistence.pool import open_pool
from tests.support.containers import ContainerStack
from tests.support.topics import Topics


@pytest.fixture(scope="session")
async def stack(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stack | ContainerStack]:
    """Kafka, Temporal and PostgreSQL, shared by all tests: never kill these."""
    kind = os.environ.get("ORDERS_TEST_STACK", "embedded")
    if kind == "embedded":
        directory = tmp_path_factory.mktemp("stack")
        async with Stack(directory, Ports.free(), print, persistent=False) as embedded:
            yield embedded
    elif kind == "containers":
        async with ContainerStack(print) as containers:
            yield containers
    else:
        pytest.exit(f"ORDERS_TEST_STACK={kind}: must be embedded or containers", 2)


@pytest.fixture(scope="session")
def endpoints(stack: Stack | ContainerStack) -> Endpoints:
    """Where the shared servers listen."""
    return stack.endpoints


@pytest.fixture(scope="session")
async def template_database(endpoints: Endpoints) -> str:
    """A migrated database that each test's own is cloned from."""
    name = f"template_{uuid.uuid4().hex}"
    await _admin(endpoints.db_url, f'CREATE DATABASE "{name}"')
    await migrate(_with_database(endpoints.db_url, name))
    return name


@pytest.fixture
async def db_url(endpoints: Endpoints, template_database: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database of the test's own."""
    name = f"test_{uuid.uuid4().hex}"
    await _admin(endpoints.db_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    yield _with_database(endpoints.db_url, name)
    await _admin(endpoints.db_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def db(db_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on a fresh, migrated database."""
    pool = await open_pool(db_url, application_name="tests", size=8)
    yield pool
    await pool.close()


@pytest.fixture
async def topics(endpoints: Endpoints, unique: Callable[[str], str]) -> Topics:
    """Fresh topics of the test's own, four partitions each."""
    topics = Topics(unique("commands"), unique("events"), unique("dlt"))
    await create_topics(
        endpoints.kafka_bootstrap, topics.commands, topics.events, topics.dead_letters
    )
    return topics


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Make a name (topic, group, task queue) that no other test uses."""
    test = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:60].strip("-")
    suffix = uuid.uuid4().hex[:8]
    return lambda name: f"{name}.{test}.{suffix}"


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def _admin(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
