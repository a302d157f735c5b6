"""How soon things go on when a process ends, against what is usual on that machine."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.chaos.evidence import EventRow, Evidence, Fault
from tests.chaos.example import add, after, good
from tests.chaos.judge import judge
from tests.chaos.plan import KINDS
from tests.chaos.takeover import ENDING, FREEZING, Waits, all_waits

DIED = Fault("kill worker", "workers killed", "worker-1", "process", after(1.5), after(3))


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


@pytest.mark.parametrize(("died", "well"), [(14, True), (6, False)])
def test_what_was_waited_before_the_worker_died_is_not_its_death_s_doing(
    died: float, well: bool
) -> None:
    evidence = good()
    waiting(evidence, ["B", "C", "D"], 15)  # from 5 to 20
    evidence.faults = [replace(DIED, begin=after(died), end=after(died + 1))]
    assert goes_on(evidence) is well


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
    assert waits_for("worker", evidence).touched["A"].total_seconds() == wait


def waits_for(who: str, evidence: Evidence) -> Waits:
    return next(waits for waits in all_waits(evidence) if waits.who == who)


def cancels(evidence: Evidence, came: float, seconds: float, count: int) -> None:
    """Let so many cancels of orders like A wait so long to be refused."""
    add(evidence, 6, "order.command_rejected", {"type": "cancel"})
    command = replace(evidence.commands.pop(), at=after(came))
    events = evidence.events.pop("A")
    for number in range(count):
        order_id = f"{came}-{number}"
        value = json.loads(command.value) | {"order_id": order_id}
        evidence.commands.append(replace(command, value=json.dumps(value).encode()))
        evidence.events[order_id] = [
            replace(event, order_id=order_id, at=after(came + seconds))
            if event.command_id == "c2"
            else replace(event, order_id=order_id)
            for event in events
        ]
    evidence.events["A"] = good().events["A"]


@pytest.mark.parametrize(
    ("kind", "family", "seconds", "well"),
    [
        ("kill ingest", "processes killed", 12, True),
        ("kill ingest", "processes killed", 16, False),
        ("restart ingest", "processes restarted", 16, False),
        ("freeze ingest", "processes frozen", 16, False),
    ],
)
def test_commands_whose_ingest_ended_have_their_outcome_within_seconds(
    kind: str, family: str, seconds: float, well: bool
) -> None:
    evidence = good()
    cancels(evidence, 3, seconds, 3)
    evidence.faults = [Fault(kind, family, "ingest-1", "process", after(2), after(8))]
    assert len(waits_for("ingest", evidence).touched) == 3
    assert goes_on(evidence) is well


@pytest.mark.parametrize(("died", "well"), [(18, True), (4, False)])
def test_what_was_waited_before_ingest_ended_is_not_its_end_s_doing(
    died: float, well: bool
) -> None:
    evidence = good()
    cancels(evidence, 3, 20, 3)
    evidence.faults = [
        Fault("kill ingest", "processes killed", "ingest-1", "process", after(died), after(30))
    ]
    assert goes_on(evidence) is well


def test_what_commands_wait_for_is_compared_with_what_is_usual() -> None:
    evidence = good()
    cancels(evidence, 3, 16, 3)
    cancels(evidence, 100, 10, 10)
    evidence.faults = [
        Fault("kill ingest", "processes killed", "ingest-1", "process", after(2), after(8))
    ]
    assert len(waits_for("ingest", evidence).control) == 10
    assert goes_on(evidence)


def test_a_command_that_overtook_its_start_waits_for_it_and_not_for_ingest() -> None:
    evidence = good()
    cancels(evidence, 0, 16, 3)
    evidence.faults = [
        Fault("kill ingest", "processes killed", "ingest-1", "process", after(2), after(8))
    ]
    assert not waits_for("ingest", evidence).touched
    assert goes_on(evidence)


@pytest.mark.parametrize(
    ("kind", "family", "seconds", "well"),
    [
        ("kill relay", "processes killed", 5, True),
        ("kill relay", "processes killed", 8, False),
        ("freeze relay", "processes frozen", 8, False),
        ("kill relay in an outage", "kafka away", 8, True),
    ],
)
def test_events_are_seen_within_seconds_when_their_relay_ended(
    kind: str, family: str, seconds: float, well: bool
) -> None:
    evidence = good()
    for event in evidence.events["A"]:
        waited = seconds if event.at <= after(4) else 0.1
        evidence.seen[f"A-{event.sequence}"] = event.at + timedelta(seconds=waited)
    evidence.faults = [Fault(kind, family, "relay-2", KINDS[kind].reach, after(2), after(4))]
    assert goes_on(evidence) is well


def test_a_wait_in_an_outage_is_not_held_against_the_relay() -> None:
    evidence = good()
    for event in evidence.events["A"]:
        evidence.seen[f"A-{event.sequence}"] = event.at + timedelta(seconds=20)
    evidence.faults = [
        Fault("kill relay", "processes killed", "relay-2", "process", after(2), after(4)),
        Fault("kill kafka", "kafka away", "kafka", "outage", after(5), after(6)),
    ]
    waits = waits_for("relay", evidence)
    assert not waits.touched
    assert not waits.control


def test_the_faults_that_are_looked_for_are_called_so() -> None:
    assert {kind.family for kind in KINDS.values()} >= ENDING
    assert KINDS.keys() >= FREEZING
