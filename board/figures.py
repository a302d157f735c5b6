"""What the page shows, added up over all partitions; one answer serves all who look."""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from board.durations import quantile
from board.fold import MINUTE_MS, View
from board.rows import Broken, Minute, Order
from domain.states import TERMINAL, State

FRESH_SECONDS: Final = 0.25
"""Answers are shared for this long; a page that asks twice a second stays within a second."""

MINUTES_SHOWN: Final = 60
NEAR_DEADLINE_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Span:
    """What happened in a minute (``minute``: since 1970), or in several that end with it.

    Times to ship (``p50``, ``p95``) are in seconds.
    """

    minute: int
    started: int
    shipped: int
    failed: int
    cancelled: int
    rejected: int
    in_time_share: float | None
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """The board at ``now`` (ms since 1970).

    ``minutes`` has the last ``MINUTES_SHOWN``, oldest first; ``hour`` is all of them together.
    """

    now: int
    open: int
    by_state: dict[State, int]
    waiting: int
    near: int
    past: int
    hour: Span
    minutes: list[Span]
    repeats: int
    broken: int
    unknown: int
    missing: int
    last_broken: list[tuple[int, Broken]]


def figures(views: Iterable[View], now: int) -> Figures:
    """Add up ``views``."""
    views = list(views)
    states: Counter[State] = Counter()
    near = past = missing = 0
    for view in views:
        for order in view.open.values():
            states[order.state] += 1
            missing += order.missing
            if not order.waits_for_person:
                near += 0 <= order.deadline - now < NEAR_DEADLINE_MS
                past += order.deadline <= now
    broken = [(view.partition, row) for view in views for row in view.broken.values()]
    minutes = _last_minutes(views, now)
    return Figures(
        now=now,
        open=states.total(),
        by_state=dict(states),
        waiting=states[State.IN_REVIEW],
        near=near,
        past=past,
        hour=_span(_sum(minutes)),
        minutes=[_span(minute) for minute in minutes],
        repeats=sum(view.tally.repeats for view in views),
        broken=sum(view.tally.broken for view in views),
        unknown=sum(view.tally.unknown for view in views),
        missing=missing,
        last_broken=heapq.nlargest(20, broken, key=lambda entry: entry[1].timestamp),
    )


def _last_minutes(views: list[View], now: int) -> list[Minute]:
    last = now // MINUTE_MS
    return [
        _sum([Minute(number), *(v.minutes[number] for v in views if number in v.minutes)])
        for number in range(last - MINUTES_SHOWN + 1, last + 1)
    ]


def _sum(minutes: list[Minute]) -> Minute:
    total = Minute(minutes[-1].minute)
    for minute in minutes:
        add(total, minute)
    return total


def _span(minute: Minute) -> Span:
    decided = minute.in_time + minute.late
    return Span(
        minute=minute.minute,
        started=minute.started,
        shipped=minute.shipped,
        failed=minute.failed,
        cancelled=minute.cancelled,
        rejected=minute.rejected,
        in_time_share=minute.in_time / decided if decided else None,
        p50=quantile(minute.times, 0.5),
        p95=quantile(minute.times, 0.95),
    )


_COUNTS: Final = ("started", "shipped", "failed", "cancelled", "rejected", "in_time", "late")


def add(total: Minute, minute: Minute) -> None:
    """Add the counts of ``minute`` to ``total``."""
    for name in _COUNTS:
        setattr(total, name, getattr(total, name) + getattr(minute, name))
    for step, count in minute.times.items():
        total.times[step] = total.times.get(step, 0) + count


SORTS: Final[Mapping[str, Callable[[Order], int | str]]] = {
    "changed": lambda order: order.changed,
    "started": lambda order: order.started,
    "order_id": lambda order: order.order_id,
    "state": lambda order: order.state,
    "deadline": lambda order: order.decide_by or 0 if order.waits_for_person else order.deadline,
    "amount": lambda order: order.amount or 0,
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which orders to list: ``state`` is a state's name, ``open``, ``past`` or ``all``."""

    state: str = "open"
    search: str = ""
    sort: str = "changed"
    descending: bool = True
    first: int = 0
    count: int = 25

    def within(self, total: int) -> "Selection":
        """Return this page of ``total`` orders, the last one where there are no longer so many."""
        last = max(0, total - 1) // self.count * self.count
        return replace(self, first=min(self.first, last))


def select(views: Iterable[View], wanted: Selection, now: int) -> tuple[list[Order], int]:
    """Return the orders of one page of the list, and how many there are in all."""
    found = [order for view in views for order in _candidates(view, wanted, now)]
    if wanted.search:
        text = wanted.search.casefold()
        found = [order for order in found if text in order.order_id.casefold()]
    end = wanted.first + wanted.count
    pick = heapq.nlargest if wanted.descending else heapq.nsmallest
    return pick(end, found, key=SORTS[wanted.sort])[wanted.first : end], len(found)


def _candidates(view: View, wanted: Selection, now: int) -> Iterable[Order]:
    if wanted.state == "all":
        return [*view.open.values(), *view.ended.values()]
    if wanted.state == "open":
        return view.open.values()
    if wanted.state == "past":
        return [
            order
            for order in view.open.values()
            if order.deadline <= now and not order.waits_for_person
        ]
    orders = view.open if State(wanted.state) not in TERMINAL else view.ended
    return [order for order in orders.values() if order.state == wanted.state]


class Shared:
    """Answers the same question once for all browsers that ask within ``FRESH_SECONDS``."""

    def __init__(self, views: Callable[[], Iterable[View]]) -> None:
        self._views = views
        self._computed = 0.0
        self._figures: Figures | None = None
        self._lists: dict[Selection, tuple[list[Order], int]] = {}

    def figures(self) -> Figures:
        """Return the figures, at most ``FRESH_SECONDS`` old."""
        if self._figures is None or time.monotonic() - self._computed > FRESH_SECONDS:
            self._figures = figures(self._views(), round(time.time() * 1000))
            self._computed = time.monotonic()
            self._lists.clear()
        return self._figures

    def select(self, wanted: Selection) -> tuple[list[Order], int]:
        """Return a page of orders that fits ``figures()``."""
        now = self.figures().now
        if wanted not in self._lists:
            self._lists[wanted] = select(self._views(), wanted, now)
        return self._lists[wanted]
