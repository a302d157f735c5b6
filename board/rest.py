"""The client of the REST API: what the order page reads and what the buttons do."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx
import structlog

from domain.model import ID_RULE, ORDER_ID_MAX, is_id

log = structlog.get_logger(__name__)

ANSWER_SECONDS: Final = 10.0
OUTCOME_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.3
WATCH_SECONDS: Final = 1.0
READY_SECONDS: Final = 4.0
SHARED_SECONDS: Final = 0.25
"""With a question each half a second, what a page shows is younger than a second."""

SERVERS: Final = {"postgresql": "PostgreSQL", "kafka": "Kafka", "temporal": "Temporal"}

Json = dict[str, Any]


class ApiError(Exception):
    """The API said no, or did not answer; the text says which and why."""


class ApiAway(ApiError):
    """The API did not answer; ``reached`` if it may nevertheless have taken the request."""

    def __init__(self, text: str, *, reached: bool) -> None:
        super().__init__(text)
        self.reached = reached


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command: ``status`` as `GET /commands/{id}` names it, and why."""

    command_id: str
    status: str
    reason: str | None
    event: str | None

    @property
    def text(self) -> str:
        """The outcome in one line."""
        if self.status == "applied":
            return f"Applied: {self.event}"
        return f"{self.status.capitalize()}: {self.reason or 'no reason was given'}"


class Rest:
    """Calls of the API at ``url``; every method raises ``ApiError`` with a clear text."""

    def __init__(self, url: str) -> None:
        self._url = url
        # No proxies from the environment: the API is a neighbour, mostly on this machine.
        self._http = httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS, trust_env=False)
        self._shared: dict[str, tuple[float, asyncio.Task[Json | None]]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str) -> Json | None:
        """Return what stands at ``path``, ``None`` for 404."""
        response = await self.request("GET", path)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        return _content(response)

    async def get_shared(self, path: str) -> Json | None:
        """The same, asked once for all browsers that ask within ``SHARED_SECONDS``."""
        now = time.monotonic()
        for old in [p for p, (at, task) in self._shared.items() if now - at > 2 and task.done()]:
            del self._shared[old]
        at, task = self._shared.get(path, (0.0, None))
        if task is None or (task.done() and now - at > SHARED_SECONDS):
            task = asyncio.create_task(self.get(path))
            self._shared[path] = (now, task)
        return await asyncio.shield(task)

    async def command(
        self, order_id: str, action: str, body: Mapping[str, Any], by: str, reason: str
    ) -> Outcome:
        """Send a command and wait for what becomes of it.

        ``action`` is ``start`` or a signal's name. Who sends it and why is logged first, since not
        every command has fields for that. A command whose outcome did not come in
        ``OUTCOME_SECONDS`` is ``pending``: it is on the topic and will have its outcome, also
        when the API has gone away meanwhile.
        """
        if not is_id(order_id, ORDER_ID_MAX):  # in a path it could name something else
            raise ApiError(f"{order_id!r} is no order id: {ID_RULE}, {ORDER_ID_MAX} at most")
        name = action if action == "start" else f"signals/{action}"
        command_id = str(uuid.uuid4())
        log.info(
            "command",
            action=action,
            order_id=order_id,
            command_id=command_id,
            by=by,
            reason=reason,
        )
        response = await self.request(
            "POST",
            f"/orders/{quote(order_id, safe='')}/{name}",
            json=dict(body),
            headers={"Idempotency-Key": command_id},
        )
        _content(response)
        return await self.outcome(command_id)

    async def outcome(self, command_id: str) -> Outcome:
        """Wait for what becomes of a command."""
        until = time.monotonic() + OUTCOME_SECONDS
        while True:
            found = await self._known(command_id)
            status = found.get("status", "pending")
            if status != "pending" or time.monotonic() > until:
                event = (found.get("event") or {}).get("type")
                reason = found.get("reason")
                if status == "pending":
                    reason = "accepted, and not decided yet; see the order's history"
                return Outcome(command_id, status, reason, event)
            await asyncio.sleep(POLL_SECONDS)

    async def _known(self, command_id: str) -> Json:
        try:
            return await self.get(f"/commands/{quote(command_id, safe='')}") or {}
        except ApiError:  # the command is on its way all the same; asked again
            return {}

    async def dead_letters(self) -> list[Json]:
        """Return the dead letters, oldest first."""
        page = await self.get("/dead-letters")
        return list((page or {}).get("dead_letters", []))

    async def replay(self, letter: Json) -> Outcome:
        """Send a dead letter again and wait for what becomes of it.

        Until it is taken up again its command is still known as dead-lettered; only a dead
        letter with more attempts than ``letter`` tells that it failed anew.
        """
        _content(await self.request("POST", f"/dead-letters/{quote(letter['id'], safe='')}/replay"))
        until = time.monotonic() + OUTCOME_SECONDS
        while True:
            outcome = await self.outcome(letter["command_id"])
            if outcome.status != "dead-lettered" or time.monotonic() > until:
                return outcome
            if any(
                again["id"] == letter["id"] and again["attempts"] > letter["attempts"]
                for again in await self.dead_letters()
            ):
                return outcome
            await asyncio.sleep(POLL_SECONDS)

    async def request(self, method: str, path: str, **content: Any) -> httpx.Response:  # noqa: ANN401
        """Send a request; raises ``ApiAway`` when nothing answers."""
        try:
            return await self._http.request(method, path, **content)
        except httpx.HTTPError as error:
            text = f"the API at {self._url} does not answer ({str(error) or type(error).__name__})"
            reached = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise ApiAway(text, reached=reached) from error


class Watch:
    """Knows what is away: asks the API's `/ready` again and again.

    ``problems`` has a line for each server that is away, as the API sees it; empty: all is well.
    """

    def __init__(self, rest: Rest) -> None:
        self.problems: list[str] = []
        self._rest = rest

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            try:
                readiness = _json(await self._rest.request("GET", "/ready", timeout=READY_SECONDS))
                self.problems = [
                    f"{SERVERS.get(name, name)} is away: {state.get('error') or 'no answer'}"
                    for name, state in readiness.get("dependencies", {}).items()
                    if not state.get("ok")
                ]
            except ApiError as error:
                self.problems = [f"Buttons and order details do not work now: {error}"]
            await asyncio.sleep(WATCH_SECONDS)


def _content(response: httpx.Response) -> Json:
    content = _json(response)
    if response.is_success:
        return content
    raise ApiError(str(content.get("detail") or f"the API answered {response.status_code}"))


def _json(response: httpx.Response) -> Json:
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ApiError(f"the API answered {response.status_code} without a JSON object")
    return content
