"""What the three servers have in common: start, readiness, stop, kill, and noticing a death."""

from __future__ import annotations

import abc
import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from devstack.cache import Say
from devstack.child import Child
from devstack.errors import StackError, StartFailed
from devstack.ports import is_free

READY_SECONDS = 180.0
"""A bound for a machine that is very busy; measured: 1 to 3 s on two idle cores."""

PROGRESS_SECONDS = 5.0

_GIVE_UP_SECONDS = 3.0
"""What a server gets to end when its start is broken off."""


class NotReady(Exception):
    """The server does not answer yet."""


@dataclass(frozen=True)
class Home:
    """What every server of one stack needs to know.

    `pass_fds` is the open lock of the directory. Each server inherits it, so that the directory
    counts as held until the last of them has ended, even when their parent was killed.
    """

    directory: Path
    pass_fds: tuple[int, ...]
    persistent: bool
    say: Say
    died: Callable[[str], None]


class Server(abc.ABC):
    """One server process on a fixed port with its data in a fixed place.

    `start`, `stop` and `kill` may follow each other any number of times; what the server had
    acknowledged is there after each of them (unless the stack is not persistent: then only after
    `stop` and `kill`, not after a crash of the machine).
    """

    name: ClassVar[str]
    stop_signal: ClassVar[int] = signal.SIGTERM

    def __init__(self, home: Home, port: int) -> None:
        self.home = home
        self.port = port
        self.log = home.directory / "logs" / f"{self.name}.log"
        self.data = home.directory / self.name
        self._child: Child | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._child is None:
            raise StackError(f"{self.name} is not running")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            StartFailed: it ended before, or did not answer; with the last lines of its log.
        """
        if self.running:
            return
        began = time.monotonic()
        self._require_free_ports()
        await self.prepare()
        self._child = child = await self.spawn(await self.command())
        try:
            await self._until_ready(child, began)
        except BaseException:
            await self.stop(_GIVE_UP_SECONDS)
            raise
        self._watch = asyncio.create_task(self._report_death(child), name=f"watch {self.name}")
        self.home.say(f"{self.name} ready after {time.monotonic() - began:.1f} s on {self.where}")

    async def stop(self, grace: float = 10.0) -> None:
        """End it as its makers intend; killed when that takes more than `grace` seconds."""
        child, self._child = self._child, None  # its end is expected from here on
        if child is not None:
            await child.terminate(grace)

    async def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        child, self._child = self._child, None
        if child is not None:
            await child.kill()

    async def restart(self) -> None:
        """Stop and start: same port, same data."""
        await self.stop()
        await self.start()

    @property
    def ports(self) -> Sequence[int]:
        """All ports it listens on."""
        return (self.port,)

    @property
    def where(self) -> str:
        return f"127.0.0.1:{self.port}"

    @abc.abstractmethod
    async def prepare(self) -> None:
        """Write configuration, make the data directory where there is none."""

    @abc.abstractmethod
    async def command(self) -> Sequence[str | Path]:
        """The command line of the server."""

    @abc.abstractmethod
    async def probe(self) -> None:
        """Return when the server answers a client; raise NotReady when it does not yet."""

    async def spawn(
        self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> Child:
        """Run the server, or a tool of it, with the log and the lock of this stack."""
        return await Child.spawn(
            self.name,
            argv,
            env,
            self.log,
            self.data,
            stop_signal=self.stop_signal,
            pass_fds=self.home.pass_fds,
        )

    def last_lines(self, count: int = 12) -> str:
        """The end of the log, indented."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  {line[:300]}" for line in lines[-count:])

    def _require_free_ports(self) -> None:
        """Or a stranger's server would be taken for this one as soon as it answers."""
        for port in self.ports:
            if not is_free(port):
                raise StartFailed(
                    f"{self.name} cannot start: port {port} was taken by another process; try again"
                )

    async def _until_ready(self, child: Child, began: float) -> None:
        told = began
        while True:
            if child.returncode is not None:
                raise StartFailed(self._obituary(child, "while starting"))
            try:
                return await self.probe()
            except NotReady as reason:
                now = time.monotonic()
                if now - began > READY_SECONDS:
                    raise StartFailed(
                        f"{self.name} does not answer after {now - began:.0f} s ({reason}); "
                        f"{self.log} ends:\n{self.last_lines()}"
                    ) from None
                if now - told > PROGRESS_SECONDS:
                    told = now
                    self.home.say(f"{self.name} still starting ({now - began:.0f} s)")
                await asyncio.sleep(0.05)

    async def _report_death(self, child: Child) -> None:
        await child.wait()
        if self._child is child:
            self.home.died(self._obituary(child, "unexpectedly"))

    def _obituary(self, child: Child, when: str) -> str:
        return (
            f"{self.name} (pid {child.pid}) ended {when} with exit code {child.returncode}; "
            f"{self.log} ends:\n{self.last_lines()}"
        )
