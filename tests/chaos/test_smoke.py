"""Chaos itself, for less than a minute; ``make chaos`` is the long form."""

from pathlib import Path

import pytest

from tests.chaos.judge import judge
from tests.chaos.report import report
from tests.chaos.run import Options, run

KINDS = ("kill worker", "kill relay", "crash: command delivered but not committed")


@pytest.mark.chaos
async def test_no_promise_is_broken_when_processes_die(tmp_path: Path) -> None:
    evidence = await run(Options(7, 0.4, 3, tmp_path, KINDS), print)
    # In time, on a machine that runs other tests as well, is no promise: see docs/chaos.md.
    violations = [found for found in judge(evidence) if found.check != "in time"]
    assert not violations, report(evidence, violations, ())
    assert evidence.faults
    assert len(evidence.orders) > 20
