"""How soon orders go on when their worker dies, against what is usual on that machine."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.chaos.evidence import EventRow, Evidence, Fault
from tests.chaos.example import add, after, good
from tests.chaos.judge import judge
from tests.chaos.takeover import longest_waits

DIED = Fault("kill worker", "killed", "worker-1", "process", after(1.5), after(3))


def waiting(evidence: Evidence, order_ids: Sequence[str], seconds: float) -> None:
    """Let orders wait so long for their last event, as A waits one second for each."""
    events = evidence.events["A"]
    late = replace(events[-1], at=after(5 + seconds))
    for order_id in order_ids:
        renamed = [replace(event, order_id=order_id) for event in [*events[:-1], late]]
        evidence.events[order_id] = renamed
        evidence.orders[order_id] = replace(evidence.orders["A"], order_id=order_id)


def goes_on(evidence: Evidence) -> bool:
    return "goes on" not in {violation.check for violation in judge(evidence)}


@pytest.mark.parametrize(("seconds", "well"), [(1, True), (5, True), (10, False)])
def test_orders_whose_worker_died_go_on_within_seconds(seconds: float, well: bool) -> None:
    evidence = good()
    waiting(evidence, ["B", "C", "D"], seconds)
    evidence.faults = [DIED]
    assert goes_on(evidence) is well


def test_a_wait_that_is_usual_here_is_not_held_against_the_takeover() -> None:
    evidence = good()
    waiting(evidence, ["B", "C", "D"], 10)
    before = replace(DIED, begin=after(-9), end=after(-8))
    evidence.faults = [before]
    assert goes_on(evidence)
    later = [f"L{n}" for n in range(5)]  # begun after the death, and as slow
    waiting(evidence, later, 10)
    for order_id in later:
        evidence.events[order_id] = [moved(event, 60) for event in evidence.events[order_id]]
    evidence.faults = [DIED]
    assert goes_on(evidence)


def moved(event: EventRow, seconds: float) -> EventRow:
    return replace(event, at=event.at + (after(seconds) - after(0)))


@pytest.mark.parametrize(("came", "wait"), [(29, 1), (15, 15)])
def test_an_order_in_review_waits_for_its_reviewer_and_then_for_nobody(
    came: float, wait: float
) -> None:
    evidence = good()
    add(evidence, 3, "order.approved", {"type": "approve", "reviewed_by": "x"})
    evidence.commands[-1] = replace(evidence.commands[-1], at=after(came))
    received, validated, answered, *_, shipped = evidence.events["A"]
    asked = replace(validated, type="order.review_requested")
    answered, shipped = replace(answered, at=after(30)), replace(shipped, at=after(30))
    evidence.events["A"] = [received, asked, answered, shipped]
    evidence.faults = [DIED]
    assert longest_waits(evidence).touched["A"].total_seconds() == wait
