"""Was every order decided in time, and were those shipped that could be?

Orders are judged by the worst that befell them: nothing (``calm``), trouble of the API, of a relay
or of an ingest (an order is driven by workers alone and must not notice), of a worker (the others
have to take over within the order's deadline), or an outage of something that all depend on
(such orders only have to end, with the money right).

A miss while the machine stood still or was taken by others is excused: it is no proof against
the service. Neither is it one for it: with more misses in all than are tolerated the run has
not shown that orders are in time (``cannot_tell``).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from tests.chaos.checks import TERMINAL, Violation
from tests.chaos.evidence import EventRow, Evidence, Fault, OrderRow
from tests.chaos.stories import TIMEOUT_SECONDS

Role = Literal["api", "relay", "ingest", "worker"]
Befell = Literal["calm", Role, "outage"]

FROM_GOOD_TO_BAD: Final[tuple[Befell, ...]] = get_args(Befell)

AFTERMATH: Final = {"process": timedelta(seconds=3), "outage": timedelta(seconds=10)}
"""So long after the end of a fault it still counts: clients come back with growing pauses."""


@dataclass(frozen=True, slots=True)
class Bound:
    """``share`` of the orders that ``befell`` happened to may miss, one at least."""

    befell: tuple[Befell, ...]
    share: float


BOUNDS: Final = {
    "no worker was hit": Bound(("calm", "api", "relay", "ingest"), 0.01),
    "a worker was hit": Bound(("worker",), 0.03),
}
"""Of whom it is promised. The promise is 0.001 of many more orders than a run of some minutes
has."""

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

    def too_many(self, missed: list[str], share: float) -> bool:
        """Tell whether more of these orders missed than may."""
        return len(missed) > max(1, math.floor(share * self.orders))

    def __add__(self, other: "Tally") -> "Tally":
        """Return both as one."""
        return Tally(
            self.orders + other.orders,
            self.late + other.late,
            self.lost + other.lost,
            self.excused + other.excused,
        )


def tallies(evidence: Evidence) -> dict[Befell, Tally]:
    """Count all ended orders by what befell them."""
    counted: dict[Befell, Tally] = {what: Tally() for what in FROM_GOOD_TO_BAD}
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
    for what, (tally, share) in _judged(evidence).items():
        if tally.too_many(tally.held_against, share):
            yield Violation("in time", what, _told(tally, tally.held_against))


def cannot_tell(evidence: Evidence) -> Iterator[str]:
    """Yield for whom it has not been shown that orders are in time, for want of the machine."""
    for what, (tally, share) in _judged(evidence).items():
        if tally.too_many(tally.missed, share) and not tally.too_many(tally.held_against, share):
            yield f"in time ({what}): the machine was busy while {_told(tally, tally.missed)}"


def _judged(evidence: Evidence) -> dict[str, tuple[Tally, float]]:
    """Return for each bound the orders it holds for, and the share of them that may miss."""
    counted = tallies(evidence)
    return {
        what: (sum((counted[one] for one in bound.befell), Tally()), bound.share)
        for what, bound in BOUNDS.items()
    }


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
    happened = (
        role_hit(fault) or "outage"
        for fault in evidence.faults
        if fault.begin <= end and begin <= fault.end + AFTERMATH[fault.reach]
    )
    return max(happened, key=FROM_GOOD_TO_BAD.index, default="calm")


def role_hit(fault: Fault) -> Role | None:
    """Return whose process or link a fault hit; ``None``: an outage, which hits all."""
    if fault.reach == "outage":
        return None
    label = fault.target.partition("-")[0]
    return next(role for role in get_args(Role) if role == label)


def _is_excused(evidence: Evidence, begin: datetime, end: datetime) -> bool:
    """Tell whether the machine was not there for the service between two moments."""
    if any(stall.begin <= end and begin <= stall.end for stall in evidence.stalls):
        return True
    then = [load for load in evidence.loads if load.begin <= end and begin <= load.end]
    return bool(then) and sum(load.others for load in then) / len(then) > TAKEN
