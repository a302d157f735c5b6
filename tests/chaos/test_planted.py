"""Crash points and planted bugs name functions of the service, which must be there."""

import asyncio
import importlib
import inspect
import operator
import sys
from pathlib import Path

import pytest

from devstack import Child
from tests.chaos.crash_points import POINTS
from tests.chaos.judge import ALL
from tests.chaos.plan import KINDS
from tests.chaos.planted import BUGS
from tests.chaos.stories import stories


@pytest.mark.parametrize("name", POINTS)
def test_a_crash_point_stands_at_a_coroutine_function(name: str) -> None:
    module, _, path = POINTS[name].where.partition(":")
    assert inspect.iscoroutinefunction(operator.attrgetter(path)(importlib.import_module(module)))


async def test_all_bugs_can_be_planted(tmp_path: Path) -> None:
    plant_all = "from tests.chaos.planted import BUGS\nfor bug in BUGS.values(): bug.plant()"
    log = tmp_path / "log"
    child = await Child.spawn("bugs", [sys.executable, "-c", plant_all], log_path=log)
    assert await asyncio.wait_for(child.wait(), 60) == 0, log.read_text()


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_looked_for_with_faults_stories_and_checks_that_there_are(name: str) -> None:
    bug = BUGS[name]
    assert set(bug.kinds) <= KINDS.keys()
    assert bug.caught_by
    assert bug.caught_by <= ALL.keys()
    assert next(stories(1, bug.stories))
