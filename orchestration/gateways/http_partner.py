"""What all partners have in common over HTTP; ``docs/partners.md`` is the contract.

A change carries its idempotency key in the header ``Idempotency-Key``. 2xx is the answer, 204 an
empty one. A 4xx with problem+json is a no (``Declined``), its ``detail`` the reason. All else
says nothing about the outcome (``PartnerUnavailable``): 5xx, no answer, an answer that cannot be
read or is too long, what a proxy says, and the 4xx that are not about this request.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from domain.errors import Declined, PartnerUnavailable
from domain.model import as_text

PROBLEM: Final = "application/problem+json"

ANSWER_MAX: Final = 2 * 1024 * 1024
"""Bytes of an answer; the longest that the contract knows, 200 items, has 1.3 million escaped."""

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


@dataclass(frozen=True, slots=True)
class _Answer:
    url: str
    status: int
    kind: str
    body: bytes

    def is_problem(self) -> bool:
        return self.kind.partition(";")[0].strip().lower() == PROBLEM


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
        answer = await self._send("POST", path, key, body)
        return None if answer.status == HTTPStatus.NO_CONTENT else _body(answer)

    async def find_at(self, path: str) -> bytes | None:
        """Return what stands at ``path``, ``None`` for the partner's 404; raises as ``get``."""
        answer = await self._send("GET", path, None, None)
        missing = answer.status == HTTPStatus.NOT_FOUND and answer.is_problem()
        return None if missing else _body(answer)

    async def _send(
        self, method: str, path: str, key: str | None, body: Mapping[str, Any] | None
    ) -> _Answer:
        # Not compressed: a few bytes of such an answer can become more than memory holds.
        headers = {"Accept-Encoding": "identity"} | ({"Idempotency-Key": key} if key else {})
        url = self._base_url + path
        try:
            async with self._client.stream(method, url, json=body, headers=headers) as response:
                kind = response.headers.get("content-type", "")
                return _Answer(url, response.status_code, kind, await _read(response))
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


async def _read(response: httpx.Response) -> bytes:
    """Return the body; raises ``PartnerUnavailable`` as soon as it is too long."""
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise PartnerUnavailable(f"{response.url}: an answer in {encoding}, not asked for")
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > ANSWER_MAX:
            raise PartnerUnavailable(f"{response.url}: an answer of more than {ANSWER_MAX:,} bytes")
    return bytes(body)


def _body(answer: _Answer) -> bytes:
    if httpx.codes.is_success(answer.status):
        return answer.body
    reason = _reason(answer)
    about_it = answer.status not in _NOT_ABOUT_THE_REQUEST
    if httpx.codes.is_client_error(answer.status) and about_it and answer.is_problem():
        raise Declined(reason)
    raise PartnerUnavailable(reason)


def _reason(answer: _Answer) -> str:
    try:
        problem = json.loads(answer.body)
        detail = problem.get("detail") or problem["title"]
    except (ValueError, KeyError, AttributeError, RecursionError):
        detail = None
    said = detail or f"HTTP {answer.status} from {answer.url}"
    return as_text(str(said)[:300])
