"""Wait for a server that is away: said once, tried by one caller at a time, without end."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import structlog
from aiokafka.errors import KafkaError

from domain.errors import Unavailable

FIRST_WAIT_SECONDS: Final = 0.1
LONGEST_WAIT_SECONDS: Final = 5.0
QUIET_SECONDS: Final = 3.0
"""Nobody has failed for so long, and somebody succeeds: only then is a server said to be back
that one loop cannot use though another can."""
STUBBORN: Final = 4
"""A call that failed so often, and still does while others succeed, is worth a line in the log."""

KAFKA_AWAY: Final = (KafkaError, TimeoutError, AssertionError)
"""What aiokafka raises while the broker is away. It asserts (0.14, ``coordinator_lookup``) that
some broker is not in its pause after a failed connection: a frozen one leaves none."""

ResultT = TypeVar("ResultT")
log = structlog.get_logger(__name__)


class Outage:
    """What is known of one server (``name``): it answers, or it is away since a moment.

    It is away when a call fails and no other has succeeded since; a call that fails while
    others succeed is in trouble by itself, waits by itself, and holds up nobody. While the
    server is away one caller at a time tries again, after growing, jittered waits; the others
    queue behind it, so that a server in trouble is not made to work on top.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.since: float | None = None
        self.reason = ""
        self._answers = 0
        self._failed_at = 0.0
        self._turn = asyncio.Lock()

    @property
    def away(self) -> bool:
        """Whether the last try failed."""
        return self.since is not None

    async def outlast(
        self,
        call: Callable[[], Awaitable[ResultT]],
        *,
        in_turn: bool = True,
        about: Mapping[str, object] | None = None,
    ) -> ResultT:
        """Return what ``call`` returns, trying again for as long as it raises ``Unavailable``.

        ``call`` may take effect more than once, so it has to be idempotent. ``in_turn``: a
        retry waits for those of others; a loop that is on its own need not. ``about``: fields of
        the line in the log that says that this call alone keeps failing.
        """
        failures, answers, told = 0, self._answers, False
        while True:
            try:
                if failures and in_turn and self.away:
                    result = await self._try_in_turn(call, failures)
                else:
                    await _pause(failures)
                    result = await call()
            except Unavailable as error:
                failures += 1
                if self._answers == answers:
                    self.went_away(str(error))
                elif failures >= STUBBORN and not told:
                    text, fields = "one call keeps failing", about or {}
                    log.warning(text, server=self.name, reason=str(error), **fields)
                    told = True
                answers = self._answers
            else:
                self.came_back()
                return result

    async def _try_in_turn(self, call: Callable[[], Awaitable[ResultT]], failures: int) -> ResultT:
        async with self._turn:
            if self.away:
                await _pause(failures)
                return await call()
        return await call()

    def went_away(self, reason: str) -> None:
        """Note a failure; the first one is logged."""
        self._failed_at, self.reason = time.monotonic(), reason
        if self.away:
            return
        self.since = self._failed_at
        log.warning("waiting", server=self.name, reason=reason)

    def answered(self) -> None:
        """Note a success that does not prove that what failed works again."""
        if time.monotonic() - self._failed_at > QUIET_SECONDS:
            self.came_back()
        else:
            self._answers += 1

    def came_back(self) -> None:
        """Note a success; the first after failures is logged."""
        self._answers += 1
        if self.since is None:
            return
        log.info("back", server=self.name, after_seconds=round(time.monotonic() - self.since, 1))
        self.since, self.reason = None, ""


async def _pause(failures: int) -> None:
    if failures:
        wait = min(FIRST_WAIT_SECONDS * 2 ** min(failures - 1, 10), LONGEST_WAIT_SECONDS)
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311
