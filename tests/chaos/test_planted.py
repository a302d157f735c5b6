"""What chaos knows of the service: names that must be there; the checker knows nothing of it."""

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


PLANT_ALL = """
from tests.chaos.planted import BUGS
for bug in BUGS.values():
    bug.plant()
"""
IMPORT_THE_CHECKER = """
import sys
import tests.chaos.collect, tests.chaos.judge, tests.chaos.report
rooms = {"domain", "persistence", "orchestration", "ingest", "board", "devstack"}
sys.exit(", ".join(rooms & {name.partition(".")[0] for name in sys.modules}) or 0)
"""


@pytest.mark.parametrize("program", [PLANT_ALL, IMPORT_THE_CHECKER])
async def test_all_bugs_can_be_planted_and_the_checker_shares_no_code_with_the_service(
    program: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    child = await Child.spawn("python", [sys.executable, "-c", program], log_path=log)
    assert await child.wait() == 0, log.read_text()


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_looked_for_with_faults_stories_and_checks_that_there_are(name: str) -> None:
    bug = BUGS[name]
    assert set(bug.kinds) <= KINDS.keys()
    assert bug.caught_by
    assert bug.caught_by <= ALL.keys()
    assert next(stories(1, bug.stories))
