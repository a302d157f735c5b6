"""Nothing outlives a parent, however it ends, and the next start is not disturbed by it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil

from devstack import Child, Ports, Stack
from tests.support.waiting import until

PARENT = Path(__file__).with_name("parent.py")
PATIENCE_SECONDS = 120.0


@asynccontextmanager
async def family(directory: Path, after: str) -> AsyncIterator[list[psutil.Process]]:
    """A parent in a session of its own that has just said a line with `after`, and all its
    descendants; the parent is the first. What a failed test leaves of them is killed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, PARENT, directory, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    members = [psutil.Process(process.pid)]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while after not in (line := (await process.stdout.readline()).decode()):
                assert line, "the parent ended early"
        members += members[0].children(recursive=True)
        yield members
    finally:
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        await process.communicate()


async def gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still live after a generous time."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, PATIENCE_SECONDS)
    return alive


async def test_kill_9_of_the_parent_leaves_nothing_and_the_next_start_works(
    tmp_path: Path,
) -> None:
    async with family(tmp_path, after="all up") as (parent, *others):
        names = " ".join(" ".join(process.cmdline()) for process in others)
        for program in ("kafka.Kafka", "start-dev", "bin/postgres", "TestServer", "sleep(3600)"):
            assert program in names
        next(process for process in others if "start-dev" in process.cmdline()).suspend()
        os.killpg(parent.pid, signal.SIGKILL)
        assert not await gone([parent])
        async with Stack(tmp_path, Ports.free(), print) as stack:
            assert stack.kafka.running
        assert not await gone(others)


async def test_an_interrupt_ends_everything_also_while_it_starts(tmp_path: Path) -> None:
    async with family(tmp_path, after="postgres ready") as members:
        members[0].send_signal(signal.SIGINT)
        assert not await gone(members)


async def test_terminate_kills_a_child_that_does_not_listen_with_its_children(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen(['sleep', '3600'], start_new_session=True)\n"
        "print('ready', flush=True)\n"
        "time.sleep(3600)\n"
    )
    child = await Child.spawn("deaf", [sys.executable, "-c", code], log_path=log)

    async def is_deaf() -> bool:
        return "ready" in log.read_text()

    await until(is_deaf)
    children = psutil.Process(child.pid).children()
    assert children
    assert await child.terminate(grace=0.2) == -signal.SIGKILL
    assert not await gone(children)


async def test_a_child_is_out_of_reach_of_the_terminals_ctrl_c() -> None:
    child = await Child.spawn("sleeper", ["sleep", "3600"])
    try:
        assert os.getsid(child.pid) == child.pid
        assert os.getpgid(child.pid) == child.pid
    finally:
        assert await child.terminate() == -signal.SIGTERM


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    child = await Child.spawn("none", [tmp_path / "missing"], log_path=tmp_path / "log")
    assert await child.wait() == 1
    assert f"cannot run {tmp_path}/missing" in (tmp_path / "log").read_text()
