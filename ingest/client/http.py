"""The REST API as the client sees it: JSON in and out, every error one line and an exit code."""

import json
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx

from ingest.client.errors import Code, Failed

Json = dict[str, Any]

OUTCOME_SECONDS: Final = 5
"""How long a command waits for its outcome unless told otherwise."""
TIMEOUT: Final = httpx.Timeout(10.0, connect=5.0)
TRIES: Final = 3
IN_THE_PROGRAM: Final = {
    "the header Idempotency-Key:": "--command-id",
    "Idempotency-Key": "--command-id",
    "see /commands/{command_id}": "`orders watch` with its id waits for it",
}
"""What the API calls by its own names, in those of the program."""


class NotKnown(Failed):
    """The API answers that it knows no such thing."""


class Api:
    """A connection to the API at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = _client(url)

    @classmethod
    @contextmanager
    def open(cls, url: str) -> Iterator["Api"]:
        """Open a connection for the block."""
        api = cls(url)
        try:
            with api._http:
                yield api
        except httpx.ConnectError:
            raise Failed(
                Code.UNREACHABLE,
                f"nobody answers at {url}: start the service (`orders up`, or `orders api`), "
                "or set API_URL",
            ) from None
        except httpx.TimeoutException:
            raise Failed(
                Code.UNREACHABLE, f"the API at {url} takes too long: try again, or `orders doctor`"
            ) from None
        except httpx.HTTPError as error:
            raise Failed(
                Code.UNREACHABLE, f"the connection to {url} broke ({error}): try again"
            ) from None
        except UnicodeEncodeError as error:  # the shell may hand over bytes that are no text
            raise Failed(
                Code.USAGE, f"{error.object!r} is not text that can be sent: use UTF-8"
            ) from None

    def get(
        self,
        path: str,
        /,
        query: Mapping[str, str | int | None] | None = None,
        *,
        wait: int = 0,
        accept: Collection[int] = (),
    ) -> Json:
        """Return what is at ``path``; the server may take ``wait`` s longer than usual.

        ``accept`` are statuses beyond 2xx that are no error here.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        if wait:
            given["wait"] = wait
        timeout = httpx.Timeout(10.0 + wait, connect=5.0)
        # httpx takes an empty mapping for "no query" and drops the one in the path.
        response = self._http.get(path, params=given or None, timeout=timeout)
        return _document(response, accept)

    def find(self, path: str, /, query: Mapping[str, str | int] | None = None) -> Json | None:
        """Return what is at ``path``, or ``None`` where nothing is known."""
        try:
            return self.get(path, query)
        except NotKnown:
            return None

    def send(self, path: str, body: Json, key: str | None, wait: int) -> Json:
        """Send a command; return its status, the outcome if it came within ``wait`` s.

        Sent again under the same id while the service says that it cannot just now. Raises
        ``Failed`` when it was refused; when nobody knows whether it got there, the text has the
        id under which it is safe to repeat.
        """
        key = key or str(uuid.uuid4())
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if wait:
            headers["Prefer"] = f"wait={wait}"
        # In ASCII anything can be sent, and the service says by field what it refuses.
        content = json.dumps(body)
        timeout = httpx.Timeout(10.0 + wait, connect=5.0)
        try:
            for left in reversed(range(TRIES)):
                response = self._http.post(path, content=content, headers=headers, timeout=timeout)
                if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or not left:
                    break
                time.sleep(_pause(response.headers))
        except (httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError):
            text = f"the API at {self.url} took the command and did not answer"
            raise Failed(Code.UNREACHABLE, f"{text}; repeat it with --command-id {key}") from None
        return _document(response)


def _client(url: str) -> httpx.Client:
    """Return a client for ``url``; raises ``Failed`` where it can be no address."""
    # Loading certificates takes a tenth of a command, and http needs none.
    secure = url.startswith("https:")
    try:
        client = httpx.Client(base_url=url, timeout=TIMEOUT, trust_env=False, verify=secure)
        client.base_url.host.encode("idna")  # as the look-up of its name will do
    except (httpx.InvalidURL, UnicodeError) as error:
        text = f"API_URL={url}: must be an address like http://localhost:8000 ({error})"
        raise Failed(Code.USAGE, text) from None
    return client


def _pause(headers: Mapping[str, str]) -> float:
    value = headers.get("Retry-After", "1")
    return min(float(value), 10.0) if value.isdigit() else 1.0


def _document(response: httpx.Response, accept: Collection[int] = ()) -> Json:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        text = f"{response.url} answers {response.status_code} and no JSON: is API_URL right?"
        raise Failed(Code.UNREACHABLE, text)
    if response.is_success or response.status_code in accept:
        return document
    detail = str(document.get("detail", response.text))
    for of_rest, of_program in IN_THE_PROGRAM.items():
        detail = detail.replace(of_rest, of_program)
    if response.status_code == httpx.codes.NOT_FOUND:
        raise NotKnown(Code.REJECTED, detail)
    raise Failed(_code(response.status_code), detail)


def _code(status: int) -> Code:
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Code.UNREACHABLE
    return Code.REJECTED if status == httpx.codes.CONFLICT else Code.USAGE
