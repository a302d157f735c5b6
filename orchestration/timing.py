"""Every duration of the workflow in one place, each beside the reason for it (seconds).

An order of ``timeout_seconds`` T has until ``T * (1 - RESERVE_SHARE)`` to get shipped; the rest
is kept back to learn about an unclear outcome, give money back and record the end.
"""

from datetime import timedelta
from typing import Final

from orchestration.contract import OrderPolicy

RESERVE_SHARE: Final = 0.3
"""4.5 s of 15 s: withdraw, find, void, refund and two writes; under flaky partners the four calls
take 1.1 s, 3.9 s at the 99.9th percentile (the sum below, 100,000 times)."""

CHILD_SHARE: Final = 0.4
"""Of the reserve, how much a shipment may use to withdraw before it is cut off."""

LAST_WRITE: Final = timedelta(seconds=0.3)
"""Kept free of the refund, to record the end in time."""

LOCAL_BUDGET: Final = 1.0
"""A step's time as a local activity; above it the step goes on as a regular activity. While a
local activity runs its workflow hears no signal, so this bounds how long a cancel waits."""

ACTIVITY_MARGIN: Final = 0.5
"""An activity stops calling its partner this long before Temporal would cut it off: time for
the write, and for the error that says what went wrong."""

LOCAL_TIMEOUT: Final = timedelta(seconds=LOCAL_BUDGET + 4)
"""Backstop of a local activity that does not keep to its budget."""

LONGEST_ACTIVITY: Final = timedelta(seconds=30)
"""An activity without a deadline of its own starts anew after this."""

HEARTBEAT_TIMEOUT: Final = timedelta(seconds=2)
HEARTBEAT_EVERY: Final = 0.5
"""A killed worker's activity starts again elsewhere after at most two seconds."""

WORKFLOW_TASK_TIMEOUT: Final = timedelta(seconds=3)
"""A killed worker takes its workflow task with it; the server gives it out anew after this
(its default of 10 s ate most of the 15 s)."""

STICKY_TIMEOUT: Final = timedelta(seconds=1)
"""How long a task waits for the worker that knows the workflow before any worker gets it
(the default of 10 s alone ate the whole deadline: measured 0 of 10 orders in time)."""

GRACEFUL_SHUTDOWN: Final = timedelta(seconds=5)
"""What runs when a worker is told to stop may take this long to finish."""

ATTEMPT_TIMEOUT_MIN: Final = 0.25
ATTEMPT_TIMEOUT_MAX: Final = 2.0
HEDGE_AFTER_MIN: Final = 0.1
HEDGE_AFTER_MAX: Final = 1.0
SILENCES_TO_DOUBLE: Final = 8
PAUSE_MIN: Final = 0.02
PAUSE_MAX: Final = 0.08
"""Attempt timeout, second attempt, and pause between tries of a partner call.

Both timeouts follow what the partner usually takes (4 and 2 times the 95th percentile of its
recent answers) inside these bounds, so that a slow partner is not answered with a storm.

The sum under the worst partners (raise 0.33, hang 0.34, answer after 30 ms 0.33): one try is
up to two attempts; it succeeds with 0.33 + 0.34 * 0.33 = 0.44 and costs 80 ms when the first
raises (0.33, then pause), 300 ms when it hangs and the second raises or hangs too (0.23).
A failed try costs 0.17 s on average, so a call takes 0.06 + 0.56 / 0.44 * 0.17 = 0.27 s on
average, and it is still unanswered after n tries with 0.56 ** n. Six calls have T * 0.7 =
10.5 s together. ``tests/unit/orchestration/test_patience.py`` simulates orders with the real
code on a clock that jumps, 50 ms a step added: of 2,000 none is late, half take 1.9 s, 99 %
4.2 s, 99.9 % 5.1 s (the sum alone, 100,000 times: none late, 1.5, 3.9, 4.9 s, the longest
7.2 s). One call takes 1.4 s at the 99th percentile.
"""

STRANDED_AFTER: Final = timedelta(seconds=30)
"""So long after its deadline an open order without a living workflow is settled."""

RECONCILE_EVERY: Final = timedelta(seconds=30)
RECONCILE_LIMIT: Final = timedelta(minutes=2)
"""The next look follows anyway, so one that finds no worker need not wait."""

LAST_RESORT: Final = timedelta(days=1)
"""How far Temporal's own execution timeout stands behind everything an order may wait for.

It takes with it the commands that no worker has looked at yet, so it has to be longer than any
time without workers or PostgreSQL.
"""


def reserve(policy: OrderPolicy) -> timedelta:
    """Return the time kept back for compensation."""
    return timedelta(seconds=policy.timeout_seconds * RESERVE_SHARE)


def execution_timeout(policy: OrderPolicy) -> timedelta:
    """Return Temporal's own limit for a run: early wait, review and deadline, and far behind."""
    waits = (
        policy.early_command_ttl_seconds + policy.review_timeout_seconds + policy.timeout_seconds
    )
    return timedelta(seconds=waits) + LAST_RESORT


def pause_before_shipment(attempt: int) -> timedelta:
    """Return how long to wait before shipment ``attempt`` (from 2) after a failed dispatch."""
    return timedelta(seconds=0.5 * 2 ** (attempt - 2))
