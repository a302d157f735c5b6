"""The benchmarks measure what they say, and what is written of them is what was measured."""

import asyncio
import re
import sys
from pathlib import Path

import psutil
import pytest

from bench import report, scaling, tables
from bench.data import KEPT, keep
from bench.load import Closed, at_rate
from bench.meter import Meter
from bench.profile import summary, without_places
from devstack import Child
from tests.support.waiting import until

_PLACE = re.compile(r"""[\s"'(](/[\w.+-]+){2,}""")
_RUN = {
    "what": "window",
    "variant": "flaky",
    "bound": 20,
    "peak": 20,
    "orders": 1,
    "shipped": 1,
    "on_time": 1.0,
    "rate": 1.0,
    "p50": 1.0,
    "p99": 1.0,
    "usage": {"others": 0.1, "load_average": 0.1},
}
_PARENT = """
import subprocess, sys, time
busy = "import time\\nwhile time.process_time() < 0.4: pass"
subprocess.run([sys.executable, "-S", "-c", busy])
time.sleep(600)
"""


def test_the_report_is_what_the_kept_measurements_say() -> None:
    assert (KEPT / "report.md").read_text() == report.text(KEPT)
    assert scaling.FILE.read_text() == scaling.text(KEPT)


def test_nothing_kept_names_a_place_on_the_machine_that_measured() -> None:
    for file in KEPT.rglob("*.*"):
        assert _PLACE.search(file.read_text()) is None, file


def test_ratios_are_of_the_same_round_of_the_same_run() -> None:
    runs = [
        {"began": "1", "round": 0, "variant": "full", "rate": 10.0},
        {"began": "1", "round": 0, "variant": "usual", "rate": 5.0},
        {"began": "2", "round": 0, "variant": "usual", "rate": 4.0},
        {"began": "2", "round": 1, "variant": "full", "rate": 9.0},
        {"began": "2", "round": 0, "variant": "full", "rate": 2.0},
    ]
    assert tables.ratios(runs, "full", "usual", "rate") == [2.0, 0.5]


def test_a_report_of_two_machines_names_both_and_says_who_measured_what(tmp_path: Path) -> None:
    for part, cores in (("admission", "slow"), ("bounds", "slow"), ("bounds", "fast")):
        keep(tmp_path, part, {**_RUN, "machine": {"cores": f"2 ({cores})"}})
    told = report.text(tmp_path)
    assert "| cores | 2 (slow) |" in told
    assert "| cores | 2 (fast) |" in told
    assert "cores: 2 (slow)." in told
    assert "cores: 2 (slow) and 2 (fast)." in told


async def test_a_meter_counts_a_process_with_its_descendants() -> None:
    """A child that has ended and been waited for included."""
    child = await Child.spawn("busy", [sys.executable, "-c", _PARENT])
    try:
        meter = Meter({"busy": child.pid})

        async def used() -> bool:
            ended = not psutil.Process(child.pid).children()
            return ended and meter.usage().cpu["busy"] > 0.3

        await until(used)
    finally:
        await child.kill()


async def test_a_closed_load_keeps_so_many_under_way_and_ends_them() -> None:
    under_way, most = 0, 0

    async def one(_: str) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    async with Closed(one, 5, "X") as load:
        done = await load.pass_time(0)
    assert done >= 5
    assert (most, under_way) == (5, 0)


async def test_a_closed_load_raises_what_a_start_raised() -> None:
    async def one(_: str) -> None:
        raise ValueError("no")

    load = Closed(one, 2, "X")
    await load.__aenter__()
    with pytest.raises(ValueError, match="no"):
        await load.pass_time(60)


async def test_waiting_for_its_turn_counts_as_time_an_order_takes() -> None:
    turn = asyncio.Lock()

    async def one(_: str) -> None:
        async with turn:
            await asyncio.sleep(0.01)

    taken = await at_rate(one, 10_000, 0.002, "X")
    assert len(taken) == 20
    assert max(taken.values()) > 0.1


def test_a_profile_gives_the_standard_library_s_work_to_whoever_called_it() -> None:
    found = summary(
        "main (ingest/cli.py:1);run (asyncio/runners.py:2);query (asyncpg/pool.py:3) 3\n"
        "main (ingest/cli.py:1);query (asyncpg/pool.py:3);loads (json/__init__.py:9) 1\n"
        "main (ingest/cli.py:1);run_once (asyncio/base_events.py:5) 4\n"
    )
    assert found["packages"] == {"event loop": 0.5, "asyncpg": 0.5}
    assert found["functions"]["main (ingest/cli.py)"] == 1.0


def test_a_profile_keeps_no_path() -> None:
    text = f"run ({Path.cwd()}/domain/events.py:3);x (/opt/python/lib/foo/bar.py:4) --to /opt/a"
    assert without_places(text) == "run (domain/events.py:3);x (bar.py:4) --to a"
