"""A stack of these tests' own, which they may kill."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devstack import Ports, Stack


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the stack of this module has said."""
    return []


@pytest.fixture(scope="module")
async def victim(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> AsyncIterator[Stack]:
    """Three servers with persistent data, one set for a module."""
    directory: Path = tmp_path_factory.mktemp("victim")
    async with Stack(directory, Ports.free(), said.append) as stack:
        yield stack
