"""The plan of faults, and what a run must have had to mean anything."""

from dataclasses import replace
from itertools import islice

import pytest

from tests.chaos.evidence import Evidence, Fault
from tests.chaos.example import NOON, good
from tests.chaos.judge import meaningless
from tests.chaos.plan import KINDS, plan

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
        "only 0 orders were touched by no outage",
        "only 0 faults",
        "ended cancelled",
        "ended rejected",
        "refunded",
        "dead-lettered",
        *FAMILIES,
    ):
        assert doubt in doubts


def test_a_fault_that_did_not_fire_does_not_count() -> None:
    evidence = good()
    evidence.faults = [
        Fault("kind", family, "worker-1 (did not fire)", "process", NOON, NOON)
        for family in FAMILIES
    ]
    assert "only 0 faults happened" in set(meaningless(evidence, 3, FAMILIES))
    evidence.faults = [replace(fault, target="worker-1") for fault in evidence.faults]
    assert not any("fault" in doubt for doubt in meaningless(evidence, 3, FAMILIES))
