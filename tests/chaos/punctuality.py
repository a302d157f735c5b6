"""Was every order decided in time, and were those shipped that could be?

Orders are judged by what befell them: nothing (``calm``), one of several processes of a role
(``process``: the others have to take over within the order's deadline), or an outage of
something that all depend on (``outage``: such orders only have to end, with the money right).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from tests.chaos.checks import TERMINAL, Violation
from tests.chaos.evidence import EventRow, Evidence

Befell = Literal["calm", "process", "outage"]

AFTERMATH: Final = {"process": timedelta(seconds=3), "outage": timedelta(seconds=10)}
"""So long after the end of a fault it still counts: clients come back with growing pauses."""

TOLERATED: Final[dict[Befell, float]] = {"calm": 0.01, "process": 0.03}
"""Share of orders that may miss, one at least: the promise is 0.001 of many more orders than a
run of some minutes has, on a machine of its own."""


@dataclass(slots=True)
class Tally:
    """``late``: decided after the deadline. ``lost``: could have been shipped and was not."""

    orders: int = 0
    late: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def missed(self) -> list[str]:
        """Return the orders that are late, lost, or both."""
        return sorted({*self.late, *self.lost})


def tallies(evidence: Evidence) -> dict[Befell, Tally]:
    """Count all ended orders by what befell them."""
    counted: dict[Befell, Tally] = {"calm": Tally(), "process": Tally(), "outage": Tally()}
    to_ship = {s.order_id for s in evidence.ledger.stories if s.expected == "shipped"}
    for order_id, events in evidence.events.items():
        times = _times(events)
        row = evidence.orders.get(order_id)
        if times is None or row is None:
            continue
        tally = counted[_befell(evidence, *times)]
        tally.orders += 1
        if not _left_to_a_person(events) and times[1] > row.deadline:
            tally.late.append(order_id)
        if order_id in to_ship and row.state == "failed":
            tally.lost.append(order_id)
    return counted


def in_time(evidence: Evidence) -> Iterator[Violation]:
    """Orders that no outage touched are decided in time, and shipped where they can be."""
    counted = tallies(evidence)
    for befell, share in TOLERATED.items():
        tally = counted[befell]
        if len(tally.missed) > max(1, math.floor(share * tally.orders)):
            text = (
                f"of {tally.orders} orders {len(tally.late)} were decided late, "
                f"{len(tally.lost)} failed that could have been shipped: "
                f"{', '.join(tally.missed[:5])}"
            )
            yield Violation("in time", befell, text)


def _times(events: list[EventRow]) -> tuple[datetime, datetime] | None:
    begin = [event.at for event in events if event.type == "order.received"]
    end = [event.at for event in events if event.type in TERMINAL]
    return (begin[0], end[0]) if begin and end else None


def _left_to_a_person(events: list[EventRow]) -> bool:
    types = {event.type for event in events}
    return "order.review_requested" in types and "order.approved" not in types


def _befell(evidence: Evidence, begin: datetime, end: datetime) -> Befell:
    reaches = {
        fault.reach
        for fault in evidence.faults
        if fault.begin <= end and begin <= fault.end + AFTERMATH[fault.reach]
    }
    return "outage" if "outage" in reaches else "process" if "process" in reaches else "calm"
