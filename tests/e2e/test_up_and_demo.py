"""The commands that open the service to a stranger, each in a directory of its own."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.kcat import needs_kcat, shell
from tests.support.waiting import until

ORDERS = str(Path(sys.executable).with_name("orders"))
PATIENCE = 180


class Up:
    """A running ``orders up`` and what it has printed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = directory / "printed"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [ORDERS, "up"], cwd=directory, stdout=log, stderr=subprocess.STDOUT, text=True
            )
        self.pid = self._process.pid

    @property
    def printed(self) -> str:
        return self._log.read_text()

    def ready(self) -> "Up":
        began = time.monotonic()
        while "Ctrl-C ends everything;" not in self.printed:
            assert self._process.poll() is None, self.printed
            assert time.monotonic() - began < PATIENCE, self.printed
            time.sleep(0.2)
        return self

    def line(self, start: str) -> str:
        """Return the printed line to paste that begins with ``start``."""
        return next(line.strip() for line in self.printed.splitlines() if start in line)

    def everyone(self) -> list[psutil.Process]:
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]

    def end(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        return self._process.wait(PATIENCE)


@contextmanager
def up(directory: Path) -> Iterator[Up]:
    running = Up(directory)
    try:
        yield running
    finally:
        if running._process.poll() is None:
            running.end(signal.SIGKILL)


async def gone(processes: list[psutil.Process]) -> None:
    async def none_left() -> bool:
        return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)

    await until(none_left)


@needs_kcat
async def test_up_serves_pasted_lines_ends_clean_and_remembers(tmp_path: Path) -> None:
    with up(tmp_path) as first:
        await asyncio.to_thread(first.ready)
        everyone = first.everyone()
        await shell(first.line('"type":"start","order_id":"A-1"'))
        read = first.line("kcat -C")

        async def shipped() -> bool:
            return "order.shipped" in await shell(read)

        await until(shipped)
        endpoints = (tmp_path / ".stack/endpoints.env").read_text()
        assert re.search(r"^KAFKA_BOOTSTRAP_SERVERS=\S+$", endpoints, re.MULTILINE)
        first.end(signal.SIGKILL)
        await gone(everyone)

    with up(tmp_path) as second:
        await asyncio.to_thread(second.ready)
        everyone = second.everyone()
        assert "order.shipped" in await shell(second.line("kcat -C"))
        assert second.end(signal.SIGINT) == 0, second.printed
        await gone(everyone)
        assert not (tmp_path / ".stack/endpoints.env").exists()
        assert "Traceback" not in second.printed


async def test_a_second_up_in_the_same_place_says_who_is_there(tmp_path: Path) -> None:
    with up(tmp_path) as first:
        await asyncio.to_thread(first.ready)
        refused = await asyncio.to_thread(
            subprocess.run,
            [ORDERS, "up"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert refused.returncode == 1
        assert str(first.pid) in refused.stdout
        assert "Traceback" not in refused.stdout + refused.stderr
        assert first.end(signal.SIGTERM) == 0, first.printed


async def test_the_demo_tells_every_story_as_it_should_end(tmp_path: Path) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [ORDERS, "demo"],
        cwd=tmp_path,
        env={**os.environ, "REVIEW_POLICY": "manual"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 of 6 stories ended as they should" in done.stdout
