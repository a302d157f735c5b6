"""What was measured, kept as JSON, so that the report can be made of runs of different times."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

KEPT: Final = Path("docs/bench")
LOOK: Final = Path(".stack/bench")
"""Where a quick look goes: nothing that is kept is overwritten by it."""
PACKAGES: Final = ("temporalio", "aiokafka", "asyncpg", "pydantic", "fastapi", "uvloop")

Run = dict[str, Any]


def keep(directory: Path, part: str, run: Run) -> None:
    """Add one measurement to those of ``part``, with when and where it was made."""
    file = directory / "data" / f"{part}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    runs = [*load(directory, part), {**where(), **run}]
    unfinished = file.with_suffix(".new")
    unfinished.write_text(json.dumps(runs, indent=1) + "\n")
    unfinished.replace(file)


def load(directory: Path, part: str) -> list[Run]:
    """Return the measurements of ``part``, oldest first."""
    file = directory / "data" / f"{part}.json"
    runs: list[Run] = json.loads(file.read_text()) if file.exists() else []
    return runs


def forget(directory: Path, part: str) -> None:
    """Remove what was measured of ``part``."""
    (directory / "data" / f"{part}.json").unlink(missing_ok=True)


def where() -> Run:
    """Return time, commit, command and machine of a measurement."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "command": " ".join(_command()),
        "machine": machine(),
    }


def machine() -> dict[str, str]:
    """Return what the figures depend on: the machine and the versions."""
    return {
        "cores": f"{os.cpu_count()} ({_cpu_model()})",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _command() -> list[str]:
    """Return how this process was called, without any path."""
    words = psutil.Process().cmdline()[1:]
    return ["python", *(word for word in words if "/" not in word)]
