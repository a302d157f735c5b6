"""How a partner is called: quick jittered retries, a timeout that adapts, a hedge.

Only safe because partners honour the idempotency key: two attempts in flight have one effect.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random

from domain.errors import PartnerUnavailable, Unavailable
from domain.model import as_text
from orchestration import timing

T = TypeVar("T")

REMEMBERED: Final = 100
_SLACK: Final = 0.01


class Pace:
    """How long one operation of one partner usually takes; shared by all calls in a process."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque(maxlen=REMEMBERED)
        self._silences = 0

    def answered_after(self, seconds: float) -> None:
        """Remember how long a good answer took."""
        self._taken.append(seconds)
        self._silences = 0

    def no_answer(self) -> None:
        """Remember that a try had no answer in time."""
        self._silences += 1

    def attempt_timeout(self) -> float:
        """Return after how many seconds without an answer to start over.

        Doubles with every ``SILENCES_TO_DOUBLE`` tries in a row that nobody had an answer to:
        then the partner is slow rather than unlucky.
        """
        usual = _within(timing.ATTEMPT_TIMEOUT_MIN, 4 * self._p95(), timing.ATTEMPT_TIMEOUT_MAX)
        stretched = usual * 2 ** min(self._silences / timing.SILENCES_TO_DOUBLE, 8)
        return min(stretched, timing.ATTEMPT_TIMEOUT_MAX)

    def hedge_after(self) -> float:
        """Return after how many seconds without an answer to ask a second time beside."""
        return _within(timing.HEDGE_AFTER_MIN, 2 * self._p95(), timing.HEDGE_AFTER_MAX)

    def _p95(self) -> float:
        return sorted(self._taken)[len(self._taken) * 95 // 100] if self._taken else 0.0


class Attempts(Generic[T]):
    """One call of a partner, as often as it takes within its budget.

    ``count`` and ``last_error`` can be read while it runs.
    """

    def __init__(self, call: Callable[[], Awaitable[T]], pace: Pace, budget: float) -> None:
        self._call = call
        self._pace = pace
        self._ends = time.monotonic() + budget
        self.count = 0
        self.last_error: str | None = None

    async def answer(self) -> T:
        """Return the partner's answer.

        Raises ``PartnerUnavailable`` with the last error when the budget (seconds) is spent,
        and whatever else an attempt raises at once.
        """
        left = self._ends - time.monotonic()
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(Unavailable),
                stop=stop_after_delay(left - timing.PAUSE_MAX),
                wait=wait_random(timing.PAUSE_MIN, timing.PAUSE_MAX),
                reraise=True,
            ):
                with attempt:
                    return await self._hedged()
        except Unavailable as error:
            text = f"{error} (attempt {self.count})"
            raise PartnerUnavailable(text, self.count) from error
        raise AssertionError("tenacity returned without an outcome")

    async def _hedged(self) -> T:
        """One try: an attempt, and a second one when the first is slow; the first answer counts."""
        timeout = min(self._pace.attempt_timeout(), max(self._ends - time.monotonic(), _SLACK))
        running = {self._attempt()}
        try:
            async with asyncio.timeout(timeout):
                done, _ = await asyncio.wait(running, timeout=self._pace.hedge_after())
                if not done:
                    running.add(self._attempt())
                return await self._first_answer(running)
        except TimeoutError:
            self._pace.no_answer()
            self.last_error = f"no answer within {timeout:.2f} s"
            raise PartnerUnavailable(self.last_error) from None
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _first_answer(self, running: set[asyncio.Task[T]]) -> T:
        waiting = set(running)
        error: Unavailable | None = None
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                try:
                    return task.result()
                except Unavailable as failed:
                    error, self.last_error = failed, as_text(str(failed))
        assert error is not None  # noqa: S101 - a set of one or two has one result
        raise error

    def _attempt(self) -> asyncio.Task[T]:
        self.count += 1
        return asyncio.ensure_future(self._timed())

    async def _timed(self) -> T:
        began = time.monotonic()
        result = await self._call()
        self._pace.answered_after(time.monotonic() - began)
        return result


def _within(low: float, value: float, high: float) -> float:
    return min(max(low, value), high)
