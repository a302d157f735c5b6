"""A child process under supervision."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from devstack.guardian import Guardian, kill_tree, leashed

guardian = Guardian()


class Child:
    """One child process, in a session of its own: Ctrl-C in the terminal does not reach it, so its
    parent decides who stops when. It never outlives the process that spawned it (`guardian.py`).

    Make one with `spawn`. `pid` is the program's own; `returncode` is None while it runs, negative
    for a signal.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, stop_signal: int) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._stop_signal = stop_signal
        self._reaped = asyncio.create_task(self._reap(), name=f"reap {name}")

    @classmethod
    async def spawn(
        cls,
        name: str,
        argv: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        log_path: Path | None = None,
        cwd: Path | None = None,
        *,
        user: str | None = None,
        stop_signal: int = signal.SIGTERM,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start `argv` with the environment `env` (None: this process's own).

        Output is appended to `log_path`, or goes where this process's output goes. Only root may
        name a `user`. A program that cannot be run ends with code 1 and says so in its output.
        """
        pipe = guardian.pipe()
        log = None if log_path is None else log_path.open("ab")
        try:
            process = await asyncio.create_subprocess_exec(
                *leashed(argv, pipe, user, stop_signal),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=None if log is None else asyncio.subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
                pass_fds=(pipe, *pass_fds),
            )
        finally:
            if log is not None:
                log.close()
        guardian.add(process.pid, stop_signal)
        return cls(name, process, stop_signal)

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end; gives its return code. Any number of callers may wait."""
        return await asyncio.shield(self._reaped)

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill(self) -> int:
        """SIGKILL it and all its descendants, and wait for its end."""
        if self.returncode is None:
            kill_tree([self.pid])
        return await self.wait()

    async def terminate(self, grace: float = 10.0) -> int:
        """Ask it to end, kill it after `grace` seconds; gives its return code.

        Cancelled in the middle, it kills at once.
        """
        self.signal(self._stop_signal)
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            return await self.kill()
        except asyncio.CancelledError:
            await self.kill()
            raise

    async def _reap(self) -> int:
        code = await self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # what it left behind in its group
        guardian.remove(self.pid)
        return code
