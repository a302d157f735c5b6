"""What all partners have in common over HTTP.

A change carries its idempotency key in the header ``Idempotency-Key``. 2xx is the answer, and
204 an empty one. Errors are problem+json: 408, 425, 429 and 5xx may work later
(``PartnerUnavailable``), every other 4xx is a no (``Declined``) with ``detail`` as the reason.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx

from domain.errors import Declined, PartnerUnavailable

_LATER: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)


class HttpPartner:
    """One partner at ``base_url``; the client is shared by all and closed by who opened it."""

    def __init__(self, client: httpx.AsyncClient, base_url: str) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")

    async def get(self, path: str, key: str) -> bytes:
        """Return the body of the answer; raises ``Declined`` or ``PartnerUnavailable``."""
        return _body(await self._send("GET", path, key, None))

    async def post(self, path: str, key: str, body: Mapping[str, Any]) -> bytes:
        """Send a change and return the body of the answer; raises as ``get``."""
        return _body(await self._send("POST", path, key, body))

    async def find_at(self, path: str) -> bytes | None:
        """Return what stands at ``path``, ``None`` for 404; raises as ``get``."""
        response = await self._send("GET", path, None, None)
        return None if response.status_code == HTTPStatus.NOT_FOUND else _body(response)

    async def _send(
        self, method: str, path: str, key: str | None, body: Mapping[str, Any] | None
    ) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        try:
            return await self._client.request(
                method, self._base_url + path, json=body, headers=headers
            )
        except httpx.HTTPError as error:
            text = f"{self._base_url}: {error or type(error).__name__}"
            raise PartnerUnavailable(text) from error


def _body(response: httpx.Response) -> bytes:
    if response.is_success:
        return response.content
    reason = _reason(response)
    if response.status_code in _LATER or response.is_server_error:
        raise PartnerUnavailable(reason)
    raise Declined(reason)


def _reason(response: httpx.Response) -> str:
    try:
        problem = response.json()
        detail = problem.get("detail") or problem["title"]
    except (ValueError, KeyError, AttributeError):
        detail = ""
    return str(detail)[:300] or f"HTTP {response.status_code} from {response.url}"
