"""Servers of these tests' own, which they may kill, where the embedded ones are at hand."""

from collections.abc import AsyncIterator

import pytest

from devstack import free_port
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from devstack.server import Home


@pytest.fixture(scope="session")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Where the servers of these tests live; their data survives a kill."""
    directory = tmp_path_factory.mktemp("own")
    (directory / "logs").mkdir()
    return Home(directory, (), persistent=True, say=print, died=print)


@pytest.fixture
async def own_postgres(own_home: Home) -> AsyncIterator[Postgres]:
    """A PostgreSQL that may be killed; it waits for the disk, as in production."""
    postgres = Postgres(own_home, free_port())
    await postgres.start()
    yield postgres
    await postgres.stop()


@pytest.fixture
async def own_kafka(own_home: Home) -> AsyncIterator[Kafka]:
    """A broker that may be killed."""
    kafka = Kafka(own_home, free_port())
    await kafka.start()
    yield kafka
    await kafka.stop()
