"""Temporal's test server, whose clock skips what nobody needs to wait for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from devstack import time_skipping_executable
from orchestration.temporal_client import DATA_CONVERTER


@asynccontextmanager
async def skipping_server(directory: Path) -> AsyncIterator[WorkflowEnvironment]:
    """Start a server for one module only: a task that nobody takes (an activity given up, a
    queue without a worker) keeps its clock from skipping for ever.
    """
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=DATA_CONVERTER,
        test_server_existing_path=str(time_skipping_executable(directory)),
        test_server_startup_timeout=timedelta(seconds=120),
    ) as environment:
        yield environment
