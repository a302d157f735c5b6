"""Browsers without a screen: they load the page and take in every update over its websocket.

To the board they cost what a browser costs; to the machine, next to nothing. Ten Chromiums would
fight with the board for the same few cores, as they do not where people look from their own.
"""

import contextlib
import re
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import socketio  # type: ignore[import-untyped]

_CLIENT: Final = re.compile(r"""["']client_id["']: ?["']([0-9a-f-]{36})""")


class Looker:
    """One open page; ``updates`` counts what came in."""

    def __init__(self) -> None:
        self.updates = 0
        self._socket = socketio.AsyncClient()
        self._socket.on("update", self._update)

    async def open(self, site: str) -> None:
        """Load the page and connect as its script does."""
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            found = _CLIENT.search((await http.get(site)).text)
        if found is None:
            raise RuntimeError(f"{site} is no page of the board")
        query = {
            "client_id": found[1],
            "implicit_handshake": "true",
            "tab_id": str(uuid.uuid4()),
            "document_id": str(uuid.uuid4()),
            "next_message_id": 0,
        }
        await self._socket.connect(
            f"{site}?{urlencode(query)}",
            socketio_path="_nicegui_ws/socket.io",
            transports=["websocket"],
        )

    async def close(self) -> None:
        """Leave."""
        await self._socket.disconnect()

    async def _update(self, _data: Any) -> None:  # noqa: ANN401  # JSON
        self.updates += 1


@contextlib.asynccontextmanager
async def lookers(site: str, count: int) -> AsyncIterator[list[Looker]]:
    """Open ``count`` pages; fails at the end if one of them was never updated."""
    opened = [Looker() for _ in range(count)]
    for looker in opened:
        await looker.open(site)
    try:
        yield opened
    finally:
        for looker in opened:
            await looker.close()
    if any(looker.updates == 0 for looker in opened):
        raise RuntimeError("a page was never updated: nothing was measured")
