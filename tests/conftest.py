"""The servers under test, a fresh database and fresh topics for each test that asks.

``ORDERS_TEST_STACK=embedded`` (default) starts them as child processes, ``containers`` by
testcontainers; one set serves a whole test process, on free ports.
"""

import os
import signal
from collections.abc import AsyncIterator

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from devstack import Endpoints, Ports, Stack
from persistence.pool import open_pool
from tests.support.containers import ContainerStack, NoDocker, require_docker
from tests.support.databases import fresh_database, make_template
from tests.support.topics import MakeName, Topics, fresh_topics, names_for

# How long a machine takes to make an example says nothing about the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

KIND = os.environ.get("ORDERS_TEST_STACK", "embedded")


def pytest_sessionstart() -> None:
    """Refuse a choice that cannot work before any test runs; let Ctrl-C reach what tests start.

    A shell starts what runs in the background with SIGINT ignored, and that is inherited.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if KIND not in ("embedded", "containers"):
        pytest.exit(f"ORDERS_TEST_STACK={KIND}: must be embedded or containers", 2)
    if KIND == "containers":
        try:
            require_docker()
        except NoDocker as error:
            pytest.exit(str(error), 2)


@pytest.fixture(scope="session")
async def stack(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stack | ContainerStack]:
    """Kafka, Temporal and PostgreSQL, shared by all tests of a process: never kill these."""
    if KIND == "containers":
        async with ContainerStack(print) as containers:
            yield containers
    else:
        directory = tmp_path_factory.mktemp("stack")
        async with Stack(directory, Ports.free(), print, persistent=False) as embedded:
            yield embedded


@pytest.fixture(scope="session")
def endpoints(stack: Stack | ContainerStack) -> Endpoints:
    """Where the shared servers listen."""
    return stack.endpoints


@pytest.fixture(scope="session")
async def template_database(endpoints: Endpoints) -> str:
    """A migrated database that each test's own is cloned from."""
    return await make_template(endpoints.db_url)


@pytest.fixture
async def db_url(endpoints: Endpoints, template_database: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database of the test's own."""
    async with fresh_database(endpoints.db_url, template_database) as url:
        yield url


@pytest.fixture
async def db(db_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on a fresh, migrated database."""
    pool = await open_pool(db_url, application_name="tests", size=8)
    yield pool
    await pool.close()


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> MakeName:
    """Make a name (topic, group, task queue) that no other test uses."""
    return names_for(request.node.name)


@pytest.fixture
async def topics(endpoints: Endpoints, unique: MakeName) -> Topics:
    """Fresh topics of the test's own, four partitions each."""
    return await fresh_topics(endpoints.kafka_bootstrap, unique)
