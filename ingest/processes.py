"""The service's own roles as child processes: what ``orders up`` and ``orders demo`` run."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from devstack import Child

RESTART_PAUSE_SECONDS: Final = 1.0
STOP_GRACE_SECONDS: Final = 20.0
SLOW_STOP_SECONDS: Final = 3.0


class RoleFailed(Exception):
    """A role ended before it was ready; the text ends with the last lines of its log."""


class Role:
    """One role process (``orders ingest`` and the like), restarted when it dies.

    Started by ``start()``, which returns when the process has said that it is ready.
    ``restarts`` counts how often ``supervise()`` had to start it again. When the parent dies,
    the process ends too (see ``devstack.Child``).
    """

    program: tuple[str, ...] = ("-m", "ingest.cli")
    """Arguments of the interpreter before the role's name."""

    def __init__(
        self, name: str, environment: Mapping[str, str], log: Path, say: Callable[[str], None]
    ) -> None:
        self.name = name
        self.restarts = 0
        self._environment = environment
        self._log = log
        self._say = say
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The process id of the running process."""
        return self._running().pid

    async def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises ``RoleFailed`` when it ends before that.
        """
        began = time.monotonic()
        with _notify_socket() as (address, ready):
            self._child = await Child.spawn(
                self.name,
                [sys.executable, *self.program, self.name],
                env={**os.environ, **self._environment, "NOTIFY_SOCKET": address},
                log_path=self._log,
            )
            await self._until_ready(self._child, ready)
        self._say(f"{self.name} ready after {time.monotonic() - began:.1f} s")

    async def _until_ready(self, child: Child, ready: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        told = asyncio.ensure_future(loop.sock_recv(ready, 64))
        ended = asyncio.ensure_future(child.wait())
        try:
            await asyncio.wait({told, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not told.done():
                raise RoleFailed(self._obituary(ended.result()))
        finally:
            for task in (told, ended):
                task.cancel()
            await asyncio.gather(told, ended, return_exceptions=True)

    async def supervise(self) -> None:
        """Start the process again whenever it dies, until cancelled."""
        while True:
            code = await self._running().wait()
            self.restarts += 1
            self._say(f"{self._obituary(code)}\n{self.name} starts again ({self.restarts}.)")
            await asyncio.sleep(RESTART_PAUSE_SECONDS)
            with contextlib.suppress(RoleFailed):  # counted and told in the next round
                await self.start()

    async def stop(self) -> None:
        """End the process: SIGTERM, and after the grace SIGKILL. Says so when that takes long."""
        if self._child is None:
            return
        text = f"{self.name} finishes what it began, {STOP_GRACE_SECONDS:.0f} s at most ..."
        slow = asyncio.get_running_loop().call_later(SLOW_STOP_SECONDS, self._say, text)
        alive = self._child.returncode is None
        try:
            code = await self._child.terminate(STOP_GRACE_SECONDS)
        finally:
            slow.cancel()
        if alive and code == -signal.SIGKILL:
            self._say(f"{self.name} did not end and was killed; {self._log} may say why")

    def _running(self) -> Child:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child

    def _obituary(self, code: int) -> str:
        lines = (
            self._log.read_text(errors="replace").splitlines()[-8:] if self._log.exists() else []
        )
        return "\n  ".join([f"{self.name} ended with exit code {code}; {self._log} ends:", *lines])


@contextlib.contextmanager
def _notify_socket() -> Iterator[tuple[str, socket.socket]]:
    # A path below the temporary directory: a socket's path may have about 100 characters only.
    with (
        tempfile.TemporaryDirectory(prefix="orders-") as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
    ):
        address = f"{directory}/notify"
        sock.bind(address)
        sock.setblocking(False)
        yield address, sock


@contextlib.asynccontextmanager
async def running(roles: list[Role]) -> AsyncIterator[asyncio.Task[None]]:
    """Run ``roles`` until the block ends; yields the task that supervises them.

    All start side by side. If one fails to start, the others are stopped and ``RoleFailed``
    is raised.
    """
    try:
        try:
            async with asyncio.TaskGroup() as starting:
                for role in roles:
                    starting.create_task(role.start())
        except* RoleFailed as failures:
            raise RoleFailed("\n".join(map(str, failures.exceptions))) from None
        supervisor = asyncio.create_task(_supervise(roles))
        try:
            yield supervisor
        finally:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
    finally:
        await asyncio.gather(*(role.stop() for role in roles))


async def _supervise(roles: list[Role]) -> None:
    async with asyncio.TaskGroup() as group:
        for role in roles:
            group.create_task(role.supervise())
