"""Wait for a server that is away: said once, tried by one caller at a time, without end."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from aiokafka.errors import KafkaError

from domain.errors import Unavailable

FIRST_WAIT_SECONDS: Final = 0.1
LONGEST_WAIT_SECONDS: Final = 5.0

KAFKA_AWAY: Final = (KafkaError, TimeoutError, AssertionError)
"""What aiokafka raises while the broker is away. It asserts (0.14, ``coordinator_lookup``) that
some broker is not in its pause after a failed connection: a frozen one leaves none."""

ResultT = TypeVar("ResultT")
log = structlog.get_logger(__name__)


class Outage:
    """What is known of one server (``name``): it answers, or it is away since a moment.

    While it is away one caller at a time tries it, after growing, jittered waits; the others
    queue behind it, so that a returning server meets no herd. Callers take turns, so that one
    call which always fails does not stand for the whole server.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.since: float | None = None
        self.reason = ""
        self._wait = FIRST_WAIT_SECONDS
        self._turn = asyncio.Lock()

    @property
    def away(self) -> bool:
        """Whether the last try failed."""
        return self.since is not None

    async def outlast(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Return what ``call`` returns, trying again for as long as it raises ``Unavailable``.

        ``call`` may take effect more than once, so it has to be idempotent.
        """
        while True:
            if not self.away:
                try:
                    return await call()
                except Unavailable as error:
                    self.went_away(str(error))
            async with self._turn:
                if not self.away:
                    continue
                await asyncio.sleep(self._wait * random.uniform(0.5, 1.0))  # noqa: S311
                try:
                    result = await call()
                except Unavailable as error:
                    self._wait = min(self._wait * 2, LONGEST_WAIT_SECONDS)
                    self.reason = str(error)
                    continue
                self.came_back()
                return result

    def went_away(self, reason: str) -> None:
        """Note a failure; the first one is logged."""
        if self.away:
            return
        self.since, self.reason, self._wait = time.monotonic(), reason, FIRST_WAIT_SECONDS
        log.warning("waiting", server=self.name, reason=reason)

    def came_back(self) -> None:
        """Note a success; the first after failures is logged."""
        if self.since is None:
            return
        log.info("back", server=self.name, after_seconds=round(time.monotonic() - self.since, 1))
        self.since, self.reason = None, ""
