"""The machine's own part: when it stood still, and how much of it others took.

"In time" is a promise about the service on a machine that has time for it. Where the machine is
shared, a late order says something about the service only when the machine was there for it.
"""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import psutil

from tests.chaos.evidence import Load, Stall

TICK_SECONDS: Final = 0.05
STALL_SECONDS: Final = 0.5
"""A clock that does nothing else and rings so much late: the machine, or the process that also
carries all links, stood still."""
SAMPLE_SECONDS: Final = 1.0


async def watch_clock(stalls: list[Stall]) -> None:
    """Note down when everything stood still, on and on."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(TICK_SECONDS)
        late = time.monotonic() - before - TICK_SECONDS
        if late > STALL_SECONDS:
            now = datetime.now(UTC)
            stalls.append(Stall(now - timedelta(seconds=late), now))


async def watch_cores(loads: list[Load]) -> None:
    """Note down who used the cores, on and on."""
    begin, busy, ours = datetime.now(UTC), _busy(), await asyncio.to_thread(_ours)
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        end, busy_now, ours_now = datetime.now(UTC), _busy(), await asyncio.to_thread(_ours)
        cores = (psutil.cpu_count() or 1) * (end - begin).total_seconds()
        mine = min(1.0, max(0.0, (ours_now - ours) / cores))
        others = min(1.0, max(0.0, (busy_now - busy) / cores - mine))
        loads.append(Load(begin, end, mine, others))
        begin, busy, ours = end, busy_now, ours_now


def _busy() -> float:
    """Return the seconds that all cores together have worked, or were kept from us."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - _guests(times))


def _guests(times: tuple[float, ...]) -> float:
    """What runs in guests stands in ``user`` as well."""
    return float(getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0))


def _ours() -> float:
    """Return the CPU seconds of this process and all that it has started, the dead included."""
    me = psutil.Process()
    return sum(map(_spent, [me, *me.children(recursive=True)]))


def _spent(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return float(sum(process.cpu_times()[:4]))  # its own and its reaped children's
    return 0.0
