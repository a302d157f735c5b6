"""How the running step of an order is getting on: asked of its workflow, never waited for long."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import structlog
from temporalio.client import Client

from domain.errors import Unavailable
from orchestration.contract import Status
from orchestration.temporal_client import connect, query_status

ANSWER_SECONDS: Final = 0.025
"""A status is answered within 50 ms (p99), whatever Temporal is doing."""
FRESH_SECONDS: Final = 5.0
QUERIES_MAX: Final = 16
RETRY_SECONDS: Final = 1.0
REMEMBERED: Final = 10_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: Status
    at: float


@dataclass(frozen=True, slots=True)
class _Question:
    task: asyncio.Task[None]
    at: float


class Live:
    """Asks workflows, a few at a time; who waits too long gets the last answer, or none.

    A query that is slow goes on behind the request, and the next one finds its answer. While one
    is overdue nobody waits for another: under load all of them are slow.
    """

    def __init__(self, host: str, port: int, namespace: str) -> None:
        self._where = (host, port, namespace)
        self._client: Client | None = None
        self._asking: dict[str, _Question] = {}
        self._answers: OrderedDict[str, _Answer] = OrderedDict()

    @property
    def client(self) -> Client:
        """The connected client; raises ``Unavailable`` when there is none."""
        if self._client is None:
            raise Unavailable("Temporal does not answer")
        return self._client

    async def run(self) -> None:
        """Connect, trying every second while Temporal is away; the client reconnects by itself."""
        while self._client is None:
            try:
                self._client = await connect(*self._where)
            except Unavailable as error:
                log.warning("waiting", server="Temporal", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def status(self, order_id: str) -> Status | None:
        """Return the workflow's own word, not older than ``FRESH_SECONDS``, or ``None``."""
        overdue = self._overdue()
        question = self._asking.get(order_id)
        if question is None and self._client is not None and len(self._asking) < QUERIES_MAX:
            task = asyncio.create_task(self._ask(self._client, order_id))
            question = self._asking[order_id] = _Question(task, time.monotonic())
        if question is not None and not overdue:
            await asyncio.wait({question.task}, timeout=ANSWER_SECONDS)
        answer = self._answers.get(order_id)
        fresh = answer is not None and time.monotonic() - answer.at < FRESH_SECONDS
        return answer.status if answer and fresh else None

    def _overdue(self) -> bool:
        oldest = next(iter(self._asking.values()), None)
        return oldest is not None and time.monotonic() - oldest.at > ANSWER_SECONDS

    async def _ask(self, client: Client, order_id: str) -> None:
        try:
            status = await query_status(client, order_id)
            if status is not None:
                self._answers[order_id] = _Answer(status, time.monotonic())
                self._answers.move_to_end(order_id)
            if len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        except Unavailable as error:
            log.debug("no live status", order_id=order_id, reason=str(error))
        finally:
            del self._asking[order_id]

    async def close(self) -> None:
        """End the queries that are under way: one left pending would hang the exit."""
        tasks = [question.task for question in self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
