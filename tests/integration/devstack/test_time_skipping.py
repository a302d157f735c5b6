"""The test server skips time for real."""

from datetime import timedelta
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from devstack import time_skipping_executable


async def test_an_hour_passes_without_waiting(tmp_path: Path) -> None:
    server = str(time_skipping_executable(tmp_path))
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=server, test_server_startup_timeout=timedelta(seconds=60)
    ) as environment:
        before = await environment.get_current_time()
        await environment.sleep(timedelta(hours=1))
        assert await environment.get_current_time() - before >= timedelta(hours=1)
