"""What all partners have in common over HTTP; ``docs/partners.md`` is the contract.

A change carries its idempotency key in the header ``Idempotency-Key``. 2xx is the answer, 204 an
empty one. A 4xx with problem+json is a no (``Declined``), its ``detail`` the reason. All else
says nothing about the outcome (``PartnerUnavailable``): 5xx, no answer, an answer that cannot be
read, what a proxy says, and the 4xx that are not about this request.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from domain.errors import Declined, PartnerUnavailable
from domain.model import as_text

PROBLEM: Final = "application/problem+json"

_NOT_ABOUT_THE_REQUEST: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,  # the same key is just being worked on
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)

M = TypeVar("M", bound=BaseModel)


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

    async def undo(self, path: str, key: str, body: Mapping[str, Any]) -> bytes | None:
        """Send a change that may come too late; returns what stands then, ``None`` for a 204."""
        response = await self._send("POST", path, key, body)
        return None if response.status_code == HTTPStatus.NO_CONTENT else _body(response)

    async def find_at(self, path: str) -> bytes | None:
        """Return what stands at ``path``, ``None`` for the partner's 404; raises as ``get``."""
        response = await self._send("GET", path, None, None)
        missing = response.status_code == HTTPStatus.NOT_FOUND and _is_problem(response)
        return None if missing else _body(response)

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


def understood(model: type[M], body: bytes) -> M:
    """Read an answer; raises ``PartnerUnavailable`` when it is not what the contract says."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        text = f"an answer that is no {model.__name__}: {body[:100]!r}"
        raise PartnerUnavailable(text) from error


def _body(response: httpx.Response) -> bytes:
    if response.is_success:
        return response.content
    reason = _reason(response)
    about_it = response.status_code not in _NOT_ABOUT_THE_REQUEST
    if response.is_client_error and about_it and _is_problem(response):
        raise Declined(reason)
    raise PartnerUnavailable(reason)


def _is_problem(response: httpx.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower() == PROBLEM


def _reason(response: httpx.Response) -> str:
    try:
        problem = response.json()
        detail = problem.get("detail") or problem["title"]
    except (ValueError, KeyError, AttributeError, RecursionError):
        detail = None
    said = detail or f"HTTP {response.status_code} from {response.url}"
    return as_text(str(said)[:300])
