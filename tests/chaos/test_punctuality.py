"""What "in time" means: whom it is said of, and when the machine is to blame."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.chaos.evidence import Evidence, Fault, Load, Stall
from tests.chaos.example import after, end_as, good
from tests.chaos.judge import judge
from tests.chaos.ledger import Story
from tests.chaos.punctuality import cannot_tell, tallies


def three_miss(how: str) -> Evidence:
    """Three orders miss; one would be tolerated."""
    evidence = good()
    if how == "late":
        end_as(evidence, "shipped", seconds=16)
    else:
        end_as(evidence, "failed")
    for order_id in ("B", "C"):
        evidence.orders[order_id] = evidence.orders["A"]
        evidence.events[order_id] = evidence.events["A"]
        evidence.ledger.stories.append(Story("plain", order_id, (), "shipped"))
    return evidence


def is_late(evidence: Evidence) -> bool:
    return "in time" in {violation.check for violation in judge(evidence)}


@pytest.mark.parametrize(
    ("faults", "broken"),
    [
        ([], True),
        ([Fault("kill worker", "killed", "worker-1", "process", after(-9), after(-1))], True),
        ([Fault("kill kafka", "killed", "kafka", "outage", after(-9), after(-8))], False),
        ([Fault("kill kafka", "killed", "kafka", "outage", after(-90), after(-80))], True),
        ([Fault("kill ingest", "killed", "ingest-2", "process", after(-9), after(-1))], True),
        ([Fault("stall", "links", "relay-1>kafka", "process", after(-9), after(-1))], True),
        ([Fault("crash: x", "crash points", "api-1", "process", after(-9), after(-1))], True),
    ],
)
@pytest.mark.parametrize("how", ["late", "failed"])
def test_orders_may_miss_their_deadline_only_in_an_outage(
    faults: list[Fault], broken: bool, how: str
) -> None:
    evidence = three_miss(how)
    evidence.faults = faults
    assert is_late(evidence) is broken


@pytest.mark.parametrize("how", ["late", "failed"])
@pytest.mark.parametrize(
    ("stalls", "loads", "excused"),
    [
        ([], [Load(after(0), after(20), 0.5, 0.1)], False),
        ([], [Load(after(0), after(20), 0.5, 0.5)], True),
        ([], [Load(after(30), after(40), 0.1, 0.9)], False),
        ([], [Load(after(0), after(3), 0.9, 0.1), Load(after(3), after(6), 0.2, 0.8)], True),
        ([Stall(after(2), after(3))], [], True),
        ([Stall(after(-3), after(-2)), Stall(after(40), after(41))], [], False),
    ],
)
def test_a_miss_is_excused_while_the_machine_was_not_there_and_then_nothing_is_shown(
    stalls: list[Stall], loads: list[Load], excused: bool, how: str
) -> None:
    evidence = three_miss(how)
    evidence.stalls, evidence.loads = stalls, loads
    assert is_late(evidence) is not excused
    assert bool(list(cannot_tell(evidence))) is excused


def test_a_busy_machine_is_no_doubt_where_nobody_missed() -> None:
    evidence = good()
    evidence.loads = [Load(after(0), after(20), 0.1, 0.9)]
    assert judge(evidence) == []
    assert list(cannot_tell(evidence)) == []


def test_an_order_is_not_in_time_because_the_service_gave_it_more() -> None:
    evidence = three_miss("late")
    for order_id, row in evidence.orders.items():
        evidence.orders[order_id] = replace(row, deadline=after(60))
    assert not is_late(evidence)  # 15 s after it was received, and a second of slack
    end_as(evidence, "shipped", seconds=18)
    for order_id, row in evidence.orders.items():
        evidence.orders[order_id] = replace(row, deadline=after(60))
    assert is_late(evidence)


@pytest.mark.parametrize(
    ("role", "missed", "broken"),
    [("worker", 3, False), ("worker", 4, True), ("ingest", 1, False), ("ingest", 2, True)],
)
def test_only_the_trouble_of_a_worker_is_an_order_s_own(
    role: str, missed: int, broken: bool
) -> None:
    evidence = good()
    evidence.faults = [Fault("kill", "killed", f"{role}-1", "process", after(1), after(2))]
    for number in range(100):
        multiply(evidence, f"in-time-{number}")
    end_as(evidence, "shipped", seconds=17)
    for number in range(missed):
        multiply(evidence, f"late-{number}")
    end_as(evidence, "shipped")
    assert is_late(evidence) is broken


def test_the_worst_that_was_hit_counts() -> None:
    evidence = good()
    hit = ["kafka", "worker-1", "ingest-2", "relay-1", "api-1"]
    faults = [
        Fault("x", "x", target, "outage" if target == "kafka" else "process", after(2), after(3))
        for target in hit
    ]
    for worst, what in enumerate(("outage", "worker", "ingest", "relay", "api")):
        evidence.faults = faults[worst:][::-1]
        assert [one for one, tally in tallies(evidence).items() if tally.orders] == [what]


def test_orders_beside_different_trouble_are_judged_together() -> None:
    evidence = good()
    evidence.faults = [
        Fault("kill", "killed", f"{role}-1", "process", after(100 * n + 1), after(100 * n + 2))
        for n, role in enumerate(("api", "relay", "ingest"))
    ]
    end_as(evidence, "shipped", seconds=17)
    for number in range(3):
        multiply(evidence, f"late-{number}", 100 * number)
    end_as(evidence, "shipped")
    counted = tallies(evidence)
    assert {what: tally.late for what, tally in counted.items() if tally.late} == {
        "api": ["late-0"],
        "relay": ["late-1"],
        "ingest": ["late-2"],
    }
    assert is_late(evidence)


def multiply(evidence: Evidence, order_id: str, seconds: float = 0) -> None:
    """Add an order like A, so much later."""
    later = timedelta(seconds=seconds)
    row = evidence.orders["A"]
    evidence.orders[order_id] = replace(row, order_id=order_id, deadline=row.deadline + later)
    evidence.events[order_id] = [
        replace(event, order_id=order_id, at=event.at + later) for event in evidence.events["A"]
    ]
