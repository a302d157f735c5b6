"""Kafka, Temporal and PostgreSQL together."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.cache import Say
from devstack.child import Child
from devstack.directory import take_directory
from devstack.errors import NotInstalled, StackError, StartFailed
from devstack.java import classpath
from devstack.kafka import Kafka
from devstack.ports import LOOPBACK, Ports
from devstack.postgres import DATABASE, USER, Postgres
from devstack.server import Home, Server
from devstack.temporal import Temporal
from devstack.temporal_cli import find_temporal


@dataclass(frozen=True)
class Endpoints:
    """How clients reach the servers."""

    db_url: str
    kafka_bootstrap: str
    temporal_host: str
    temporal_port: int
    temporal_ui_url: str

    def as_env(self) -> dict[str, str]:
        """The same under the service's environment variables."""
        return {
            "DB_URL": self.db_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap,
            "TEMPORAL_HOST": self.temporal_host,
            "TEMPORAL_PORT": str(self.temporal_port),
            "TEMPORAL_UI_URL": self.temporal_ui_url,
        }


def _is_installed() -> bool:
    """Whether the three servers can start without fetching anything."""
    try:
        classpath("kafka")
        find_temporal()
    except NotInstalled:
        return False
    return True


def _print(line: str) -> None:
    print(line, flush=True)


class Stack:
    """The three servers, from entering to leaving `async with`.

    Data and logs lie in `directory`, which one stack at a time may use. `persistent`: all data is
    there at the next start; otherwise Temporal keeps its data in memory, PostgreSQL does not wait
    for the disk, and its data goes with the stack. `say` gets a line for each server that is ready
    and for what takes long.
    `ports` may be a function (`Ports.preferred`): it is asked when the directory is free, so that
    ports of an earlier run that is just ending are not taken for a stranger's.

    However this process ends, the servers end too, and their data stays whole.
    """

    def __init__(
        self,
        directory: Path,
        ports: Ports | Callable[[Say], Ports],
        say: Say = _print,
        persistent: bool = True,
    ) -> None:
        self.directory = directory.resolve()
        self._ports = ports
        self._say = say
        self._persistent = persistent
        self._deaths: asyncio.Queue[str] = asyncio.Queue()
        self._servers: tuple[Server, ...] = ()

    async def __aenter__(self) -> Self:
        """Start all three side by side; returns when all answer.

        Raises:
            InUse: another process uses the directory.
            StackError: something could not be fetched, or a server did not come up. The others
                are stopped then.
        """
        self._lock = await take_directory(self.directory, self._say)
        try:
            self._make_servers()
            if not await asyncio.to_thread(_is_installed):
                await self._install()
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop all three side by side: a second or so."""
        await self._stop()

    async def wait_failed(self) -> str:
        """Wait until a server dies without having been stopped or killed through this stack.

        Gives its name, its exit code and the last lines of its log.
        """
        return await self._deaths.get()

    def _make_servers(self) -> None:
        ports = self._ports if isinstance(self._ports, Ports) else self._ports(self._say)
        self.endpoints = Endpoints(
            db_url=f"postgresql://{USER}@{LOOPBACK}:{ports.postgres}/{DATABASE}",
            kafka_bootstrap=f"{LOOPBACK}:{ports.kafka}",
            temporal_host=LOOPBACK,
            temporal_port=ports.temporal,
            temporal_ui_url=f"http://{LOOPBACK}:{ports.temporal_ui}",
        )
        home = Home(
            self.directory,
            (self._lock.fileno(),),
            self._persistent,
            self._say,
            self._deaths.put_nowait,
        )
        self.kafka = Kafka(home, ports.kafka)
        self.temporal = Temporal(home, ports.temporal, ports.temporal_ui)
        self.postgres = Postgres(home, ports.postgres)
        self._servers = (self.kafka, self.temporal, self.postgres)
        for server in self._servers:
            server.log.parent.mkdir(exist_ok=True)
            if server.log.exists():  # one run a file, and the one before it
                server.log.replace(server.log.with_suffix(".log.1"))

    async def _install(self) -> None:
        """In a process of its own, because a thread could not be interrupted."""
        log = self.directory / "logs" / "install.log"
        log.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "devstack.install"]
        child = await Child.spawn("install", argv, log_path=log)
        try:
            with log.open() as lines:
                while child.returncode is None:
                    await asyncio.sleep(0.2)
                    for line in lines:
                        self._say(line.rstrip())
        finally:
            await child.kill()
        if child.returncode != 0:
            raise NotInstalled(
                "what the servers need could not be fetched; the lines above say why"
            )

    async def _start(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for server in self._servers:
                    group.create_task(server.start(), name=f"start {server.name}")
        except* StackError as failures:
            raise StartFailed("\n".join(map(str, failures.exceptions))) from None

    async def _stop(self) -> None:
        try:
            await asyncio.gather(*(server.stop() for server in self._servers))
            if not self._persistent and self._servers:
                await asyncio.to_thread(self.postgres.discard)
        finally:
            self._lock.close()
