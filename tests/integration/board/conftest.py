"""A broker that a test of the board may take away."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devstack import free_port
from devstack.kafka import Kafka
from devstack.server import Home


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncIterator[Kafka]:
    """A broker of the test's own."""
    home = Home(tmp_path, (), persistent=False, say=print, died=print)
    kafka = Kafka(home, free_port())
    kafka.log.parent.mkdir()
    await kafka.start()
    yield kafka
    await kafka.stop()
