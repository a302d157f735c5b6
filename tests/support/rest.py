"""The role ``api`` as a process beside a running service, and a client for it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from devstack import free_port
from domain.states import TERMINAL, State
from ingest.processes import Role, running
from tests.support.waiting import until

OPEN = set(State) - TERMINAL
ADDRESS = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
GOLD = {"items": [{"sku": "GOLD", "quantity": 1, "unit_price": 90_000}], "currency": "USD"}
"""Dear enough to wait for a reviewer."""


@dataclass(frozen=True)
class Rest:
    """The API of a running service."""

    url: str
    http: httpx.AsyncClient
    environment: dict[str, str]
    role: Role

    async def start(self, order_id: str, **more: Any) -> httpx.Response:
        """Start an order without waiting for anything."""
        body = {"initial_address": ADDRESS, **more}
        return await self.http.post(f"/orders/{order_id}/start", json=body)

    async def state(self, order_id: str, state: str) -> dict[str, Any]:
        """Wait until an order is in a state; return its status.

        Fails at once when the order has ended in another.
        """

        found: dict[str, Any] = {}

        async def reached() -> bool:
            nonlocal found
            response = await self.http.get(f"/orders/{order_id}/status")
            found = response.json()
            assert found.get("state") in {None, state, *OPEN}, found
            return response.is_success and bool(found["state"] == state)

        try:
            await until(reached)
        except AssertionError as error:
            raise AssertionError(f"{order_id} is not {state}: {found}") from error
        return found


@contextlib.asynccontextmanager
async def running_api(environment: dict[str, str], logs: Path) -> AsyncIterator[Rest]:
    """Start the API on a free port; end it with the block."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {**environment, "API_PORT": str(port), "API_URL": url}
    role = Role("api", variables, logs / "api.log", print)
    async with (
        running([role]),
        httpx.AsyncClient(base_url=url, timeout=90, trust_env=False) as http,
    ):
        yield Rest(url, http, variables, role)
