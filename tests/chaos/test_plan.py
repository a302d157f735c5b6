"""The plan of faults, and what a run must have had to mean anything."""

from dataclasses import replace
from itertools import islice

import pytest

from tests.chaos.evidence import Evidence, Fault
from tests.chaos.example import NOON, good
from tests.chaos.judge import meaningless
from tests.chaos.plan import KINDS, plan
from tests.chaos.stories import stories

FAMILIES = {kind.family for kind in KINDS.values()}


@pytest.mark.parametrize("seed", range(20))
def test_every_round_has_a_fault_of_each_family_and_a_long_run_has_every_kind(seed: int) -> None:
    planned = list(islice(plan(seed, KINDS), 200))
    for begin in range(0, 180, len(FAMILIES)):
        dealt = planned[begin : begin + len(FAMILIES)]
        assert {KINDS[fault.kind].family for fault in dealt} == FAMILIES
    assert {fault.kind for fault in planned} == KINDS.keys()
    assert planned == list(islice(plan(seed, KINDS), 200))


def test_a_run_without_commands_faults_or_outcomes_proves_nothing() -> None:
    doubts = "\n".join(meaningless(Evidence(), 3, FAMILIES))
    for doubt in (
        "only 0 commands",
        "by rest",
        "no approve was acknowledged",
        "only 0 orders were touched by no outage",
        "only 0 faults",
        "ended cancelled",
        "ended rejected",
        "refunded",
        "dead-lettered",
        *FAMILIES,
    ):
        assert doubt in doubts


def test_a_run_whose_commands_were_not_acknowledged_proves_nothing() -> None:
    evidence = good()
    (acknowledged, *_) = evidence.ledger.acknowledged
    evidence.ledger.unclear = [(acknowledged.message, "timed out")]
    assert "1 commands were never acknowledged" in set(meaningless(evidence, 1, FAMILIES))
    evidence.ledger.acknowledged *= 5
    assert not any("never" in doubt for doubt in meaningless(evidence, 1, FAMILIES))


def test_a_seed_tells_the_same_stories_again() -> None:
    told = list(islice(stories(7), 300))
    assert told == list(islice(stories(7), 300))
    assert told != list(islice(stories(8), 300))
    assert len({story.name for story in told}) == 20


def test_a_fault_that_did_not_fire_does_not_count() -> None:
    evidence = good()
    evidence.faults = [
        Fault("kind", family, "worker-1 (did not fire)", "process", NOON, NOON)
        for family in FAMILIES
    ]
    assert "only 0 faults happened" in set(meaningless(evidence, 3, FAMILIES))
    evidence.faults = [replace(fault, target="worker-1") for fault in evidence.faults]
    assert not any("fault" in doubt for doubt in meaningless(evidence, 3, FAMILIES))
