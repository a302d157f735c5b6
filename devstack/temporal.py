"""Temporal's development server with its web UI, on SQLite."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from devstack.child import Child
from devstack.ports import LOOPBACK
from devstack.server import Home, NotReady, Server
from devstack.temporal_cli import find_temporal


class Temporal(Server):
    """Frontend on `port`, UI on `ui_port`, namespace `default`.

    Persistent: workflows survive `stop`, `kill` and the end of the stack (SQLite with a
    write-ahead log). Otherwise they are kept in memory and are gone after each of them.
    """

    name = "temporal"

    def __init__(self, home: Home, port: int, ui_port: int) -> None:
        super().__init__(home, port)
        self.ui_port = ui_port

    @property
    def ports(self) -> Sequence[int]:
        return (self.port, self.ui_port)

    async def prepare(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)

    async def command(self) -> Sequence[str | Path]:
        binary = await asyncio.to_thread(find_temporal)
        argv: list[str | Path] = [binary, "server", "start-dev", "--log-level", "warn"]
        argv += ["--ip", LOOPBACK, "--port", str(self.port), "--ui-port", str(self.ui_port)]
        for queue in ("Read", "Write"):  # four by default, too many for few pollers
            argv += ["--dynamic-config-value", f"matching.numTaskqueue{queue}Partitions=1"]
        if self.home.persistent:
            argv += ["--db-filename", "temporal.db"]
            argv += ["--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"]
        return argv

    async def spawn(
        self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> Child:
        inherited = env if env is not None else os.environ
        clean = {key: value for key, value in inherited.items() if not key.startswith("TEMPORAL_")}
        return await super().spawn(argv, clean)

    async def probe(self) -> None:
        """The UI's API asks the frontend for the namespace: an answer proves both."""
        url = f"http://{LOOPBACK}:{self.ui_port}/api/v1/namespaces/default"
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
                answer = await client.get(url)
        except httpx.TransportError as error:
            raise NotReady(str(error)) from None
        if answer.status_code != httpx.codes.OK or "NAMESPACE_STATE_REGISTERED" not in answer.text:
            raise NotReady(f"HTTP {answer.status_code} for {url}")
