"""TCP links between the service's processes and the servers, which can be cut, slowed, stalled."""

import asyncio
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 65_536


class Mode(StrEnum):
    """What a link does with what it is given."""

    PASS = "pass"
    SLOW = "slow"
    """Every chunk is late by ``delay`` seconds."""
    STALL = "stall"
    """Nothing goes through, and nobody is told: connections stay open."""
    CUT = "cut"
    """Connections are reset, and new ones closed at once."""


class Link:
    """Listens on a loopback port of its own and passes connections on to ``host:port``."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self.port = 0
        self._host, self._to = host, port
        self._mode = Mode.PASS
        self._delay = 0.0
        self._passing = asyncio.Event()
        self._passing.set()
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        self._reset()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    def set(self, mode: Mode, delay: float = 0.0) -> None:
        """Change what happens from now on; ``delay`` (seconds) counts for ``SLOW``."""
        self._mode, self._delay = mode, delay
        if mode is Mode.CUT:
            self._reset()
        if mode is Mode.STALL:
            self._passing.clear()
        else:
            self._passing.set()

    def _reset(self) -> None:
        for task, writers in self._connections.items():
            for writer in writers:
                writer.transport.abort()
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._mode is Mode.CUT:
            writer.transport.abort()
            return
        writers = self._connections[task] = [writer]
        try:
            to_reader, to_writer = await asyncio.open_connection(self._host, self._to)
            writers.append(to_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, to_writer))
                group.create_task(self._pump(to_reader, writer))
        except* OSError:
            pass  # either side is gone: so is the other
        except* asyncio.CancelledError:
            pass  # cut
        finally:
            for open_writer in writers:
                open_writer.transport.abort()
            del self._connections[task]

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._passing.wait()
            if self._mode is Mode.SLOW:
                await asyncio.sleep(self._delay)
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
