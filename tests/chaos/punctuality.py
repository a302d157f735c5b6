"""Was every order decided in time, and were those shipped that could be?

Orders are judged by what befell them: nothing (``calm``), one of several processes of a role
(``process``: the others have to take over within the order's deadline), or an outage of
something that all depend on (``outage``: such orders only have to end, with the money right).

A miss while the machine stood still or was taken by others is excused: it is no proof against
the service. Neither is it one for it: with more misses in all than are tolerated the run has
not shown that orders are in time (``cannot_tell``).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from tests.chaos.checks import TERMINAL, Violation
from tests.chaos.evidence import EventRow, Evidence, OrderRow
from tests.chaos.stories import TIMEOUT_SECONDS

Befell = Literal["calm", "process", "outage"]

AFTERMATH: Final = {"process": timedelta(seconds=3), "outage": timedelta(seconds=10)}
"""So long after the end of a fault it still counts: clients come back with growing pauses."""

TOLERATED: Final[dict[Befell, float]] = {"calm": 0.01, "process": 0.03}
"""Share of orders that may miss, one at least: the promise is 0.001 of many more orders than a
run of some minutes has."""

TAKEN: Final = 0.25
"""An order is excused when others had this share of all cores while it was driven."""

SLACK: Final = timedelta(seconds=1)
"""Between a moment as the service counts it and as it is written down."""


@dataclass(slots=True)
class Tally:
    """``late``: decided after the deadline. ``lost``: could have been shipped and was not."""

    orders: int = 0
    late: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    excused: list[str] = field(default_factory=list)

    @property
    def missed(self) -> list[str]:
        """Return the orders that are late, lost, or both."""
        return sorted({*self.late, *self.lost})

    @property
    def held_against(self) -> list[str]:
        """Return those that missed although the machine was there for them."""
        return sorted(set(self.missed) - set(self.excused))

    def too_many(self, missed: list[str], what: Befell) -> bool:
        """Tell whether more of these orders missed than may."""
        return len(missed) > max(1, math.floor(TOLERATED[what] * self.orders))


def tallies(evidence: Evidence) -> dict[Befell, Tally]:
    """Count all ended orders by what befell them."""
    counted: dict[Befell, Tally] = {"calm": Tally(), "process": Tally(), "outage": Tally()}
    to_ship = {s.order_id for s in evidence.ledger.stories if s.expected == "shipped"}
    for order_id, events in evidence.events.items():
        span = times(events)
        row = evidence.orders.get(order_id)
        if span is None or row is None:
            continue
        tally = counted[befell(evidence, *span)]
        tally.orders += 1
        if not _left_to_a_person(events) and span[1] > _due(events, row):
            tally.late.append(order_id)
        if order_id in to_ship and row.state == "failed":
            tally.lost.append(order_id)
        if _is_excused(evidence, *span):
            tally.excused.append(order_id)
    return counted


def in_time(evidence: Evidence) -> Iterator[Violation]:
    """Orders that no outage touched are decided in time, and shipped where they can be."""
    counted = tallies(evidence)
    for what in TOLERATED:
        tally = counted[what]
        if tally.too_many(tally.held_against, what):
            yield Violation("in time", what, _told(tally, tally.held_against))


def cannot_tell(evidence: Evidence) -> Iterator[str]:
    """Yield for whom it has not been shown that orders are in time, for want of the machine."""
    counted = tallies(evidence)
    for what in TOLERATED:
        tally = counted[what]
        if tally.too_many(tally.missed, what) and not tally.too_many(tally.held_against, what):
            yield f"in time ({what}): the machine was busy while {_told(tally, tally.missed)}"


def _told(tally: Tally, missed: list[str]) -> str:
    late = len(set(tally.late) & set(missed))
    lost = len(set(tally.lost) & set(missed))
    return (
        f"of {tally.orders} orders {late} were decided late, "
        f"{lost} failed that could have been shipped: {', '.join(missed[:5])}"
    )


def times(events: list[EventRow]) -> tuple[datetime, datetime] | None:
    """Return when an order was received and when it ended, if both have happened."""
    begin = [event.at for event in events if event.type == "order.received"]
    end = [event.at for event in events if event.type in TERMINAL]
    return (begin[0], end[0]) if begin and end else None


def _due(events: list[EventRow], row: OrderRow) -> datetime:
    """Return the deadline: the row's, but no later than the promise allows."""
    at = {event.type: event.at for event in events}
    due = at["order.received"] + timedelta(seconds=TIMEOUT_SECONDS) + SLACK
    if "order.approved" in at and "order.review_requested" in at:
        due += at["order.approved"] - at["order.review_requested"]
    return min(row.deadline, due)


def _left_to_a_person(events: list[EventRow]) -> bool:
    types = {event.type for event in events}
    return "order.review_requested" in types and "order.approved" not in types


def befell(evidence: Evidence, begin: datetime, end: datetime) -> Befell:
    """Return the worst that happened between two moments, its aftermath included."""
    reaches = {
        fault.reach
        for fault in evidence.faults
        if fault.begin <= end and begin <= fault.end + AFTERMATH[fault.reach]
    }
    return "outage" if "outage" in reaches else "process" if "process" in reaches else "calm"


def _is_excused(evidence: Evidence, begin: datetime, end: datetime) -> bool:
    """Tell whether the machine was not there for the service between two moments."""
    if any(stall.begin <= end and begin <= stall.end for stall in evidence.stalls):
        return True
    then = [load for load in evidence.loads if load.begin <= end and begin <= load.end]
    return bool(then) and sum(load.others for load in then) / len(then) > TAKEN
