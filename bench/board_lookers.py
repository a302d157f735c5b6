"""Browsers without a screen: they load the page and take in every update over its websocket.

To the board they cost what a browser costs; to the machine, next to nothing. Chromiums would fight
with the board for the same few cores, as they do not where people look from machines of their own.
"""

import contextlib
import re
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import socketio  # type: ignore[import-untyped]

_CLIENT: Final = re.compile(r"""["']client_id["']: ?["']([0-9a-f-]{36})""")


class Looker:
    """One open page; ``updates`` counts what came in, ``seen`` has the time (seconds since 1970)
    at which each order first stood in the list that it shows."""

    def __init__(self) -> None:
        self.updates = 0
        self.seen: dict[str, float] = {}
        self._socket = socketio.AsyncClient()
        self._socket.on("update", self._update)

    async def open(self, site: str, search: str) -> None:
        """Load the page and connect as its script does."""
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            found = _CLIENT.search((await http.get(f"{site}/?search={search}")).text)
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
            wait_timeout=60,
        )

    async def close(self) -> None:
        """Leave."""
        await self._socket.disconnect()

    async def _update(self, elements: dict[str, Any]) -> None:
        self.updates += 1
        for element in elements.values():
            rows = element.get("props", {}).get("rows", []) if isinstance(element, dict) else []
            for row in rows:
                self.seen.setdefault(row["order_id"], time.time())


@contextlib.asynccontextmanager
async def lookers(site: str, count: int, search: str) -> AsyncIterator[list[Looker]]:
    """Open ``count`` pages, the first with a search; fails if one of them was never updated."""
    opened = [Looker() for _ in range(count)]
    try:
        for looker in opened:
            await looker.open(site, search if looker is opened[0] else "")
        yield opened
    finally:
        for looker in opened:
            await looker.close()
    if any(looker.updates == 0 for looker in opened):
        raise RuntimeError("a page was never updated: nothing was measured")
