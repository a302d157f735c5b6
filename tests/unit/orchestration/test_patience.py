"""The sum behind the settings: do six calls of the worst partners fit into an order's time?

The real ``Attempts`` and ``Pace``, on an event loop whose clock jumps. ``SIMULATED_ORDERS``
makes it larger: ``orchestration/timing.py`` states what 100,000 orders came to.
"""

import asyncio
import os
import random
import selectors
import time
from collections.abc import Callable
from typing import Final

import pytest

from domain.errors import PartnerUnavailable
from orchestration import timing
from orchestration.contract import OrderPolicy
from orchestration.gateways.simulation import ANSWER_SECONDS, HANG_SECONDS, HANGS, RAISES
from orchestration.patience import Attempts, Pace

ORDERS: Final = int(os.environ.get("SIMULATED_ORDERS", "300"))
IN_MOTION: Final = 50
CALLS: Final = 6
STEP_SECONDS: Final = 0.05
"""For what a step does beside its call: workflow task and write."""


class _JumpingSelector(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return []


class _JumpingLoop(asyncio.SelectorEventLoop):
    """Waits for nothing: when all sleep, it is at once the time at which the first wakes up."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """Return how long each of so many orders took from the first call to the last answer."""

    def run(orders: int, in_motion: int = IN_MOTION) -> list[float]:
        random.seed(0)
        loop = _JumpingLoop()
        monkeypatch.setattr(time, "monotonic", loop.time)
        try:
            return loop.run_until_complete(_drive(orders, in_motion))
        finally:
            monkeypatch.undo()
            loop.close()

    return run


async def _drive(orders: int, in_motion: int) -> list[float]:
    paces = [Pace() for _ in range(CALLS)]
    waiting = iter(range(orders))
    taken: list[float] = []

    async def one_after_the_other() -> None:
        taken.extend([await _order(paces) for _ in waiting])

    await asyncio.gather(*(one_after_the_other() for _ in range(in_motion)))
    return taken


async def _order(paces: list[Pace]) -> float:
    began = time.monotonic()
    policy = OrderPolicy()
    until = began + policy.timeout_seconds - timing.reserve(policy).total_seconds()
    try:
        for pace in paces:
            await _step(pace, until)
    except PartnerUnavailable:
        return float("inf")
    return time.monotonic() - began


async def _step(pace: Pace, until: float) -> None:
    """As ``Steps.take`` and ``Budget`` do it: first a second, then all the time that is left."""
    await asyncio.sleep(STEP_SECONDS)
    try:
        await Attempts(_flaky, pace, timing.LOCAL_BUDGET).answer()
    except PartnerUnavailable:
        await asyncio.sleep(STEP_SECONDS)
        left = until - time.monotonic() - timing.ACTIVITY_MARGIN
        await Attempts(_flaky, pace, max(left, timing.ATTEMPT_TIMEOUT_MIN)).answer()


async def _flaky() -> None:
    drawn = random.random()
    if RAISES <= drawn < RAISES + HANGS:
        await asyncio.sleep(HANG_SECONDS)
    await asyncio.sleep(ANSWER_SECONDS)
    if drawn < RAISES + HANGS:
        raise PartnerUnavailable("simulated fault")


def test_999_of_1000_orders_are_in_time_with_the_worst_partners(
    simulate: Callable[..., list[float]],
) -> None:
    taken = sorted(simulate(ORDERS))
    late = sum(seconds == float("inf") for seconds in taken)
    at = {share: taken[int(len(taken) * share)] for share in (0.5, 0.99, 0.999)}
    print(f"{ORDERS} orders, {late} late; seconds at the quantiles: {at}")
    assert late <= ORDERS / 1000


def test_without_hedges_and_with_patience_orders_would_be_late(
    simulate: Callable[..., list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "HEDGE_AFTER_MIN", HANG_SECONDS)
    monkeypatch.setattr(timing, "HEDGE_AFTER_MAX", HANG_SECONDS)
    monkeypatch.setattr(timing, "ATTEMPT_TIMEOUT_MIN", timing.ATTEMPT_TIMEOUT_MAX)
    assert sum(seconds == float("inf") for seconds in simulate(100)) > 1


class _Silent:
    """A partner that does not answer, though from the ``answers``-th call on it does at once."""

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.calls = 0
        self.open = 0

    async def __call__(self) -> None:
        self.calls += 1
        self.open += 1
        try:
            if self.calls < self.answers:
                await asyncio.sleep(HANG_SECONDS)
        finally:
            self.open -= 1


async def test_a_call_without_an_answer_in_time_is_hung_up() -> None:
    """It would hold its connection, and what it carries, for as long as the partner is silent."""
    silent = _Silent(answers=1000)
    with pytest.raises(PartnerUnavailable, match="no answer within"):
        await Attempts(silent, Pace(), 2 * timing.ATTEMPT_TIMEOUT_MIN).answer()
    assert silent.calls >= 2
    assert silent.open == 0


async def test_the_slow_one_of_two_calls_is_hung_up_when_the_other_has_an_answer() -> None:
    silent = _Silent(answers=2)
    await Attempts(silent, Pace(), timing.LOCAL_BUDGET).answer()
    assert (silent.calls, silent.open) == (2, 0)
