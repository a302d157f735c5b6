"""What the command line loads before it knows what it is asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ORDERS = str(Path(sys.executable).with_name("orders"))
HEAVY = (
    "aiokafka", "asyncpg", "fastapi", "faust", "httpx", "nicegui", "pydantic", "sqlalchemy",
    "temporalio", "uvicorn", "ingest.settings",
)  # fmt: skip
COMMANDS = (
    "start", "status", "history", "cancel", "update-address", "approve", "reject", "list", "watch",
    "doctor", "dead-letters", "ingest", "worker", "relay", "api", "board", "partners", "migrate",
    "up",
)  # fmt: skip


@pytest.mark.parametrize("words", [["--help"], ["start", "--help"], ["dead-letters", "--help"]])
def test_help_loads_none_of_the_heavy_packages(words: list[str]) -> None:
    program = f"""
import sys
from ingest.cli import app
try:
    app({words})
finally:
    print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)
"""

    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "Usage: " in loaded.stdout
    assert loaded.stderr == "[]\n"


def test_help_names_every_command_with_a_whole_sentence() -> None:
    shown = subprocess.run([ORDERS, "--help"], capture_output=True, text=True, check=True).stdout

    for command in COMMANDS:
        assert f"\n  {command} " in shown
    assert "..." not in shown.partition("Commands:")[2]


def test_the_shell_completes_commands() -> None:
    environment = {
        **os.environ,
        "_ORDERS_COMPLETE": "complete_bash",
        "COMP_WORDS": "orders upd",
        "COMP_CWORD": "1",
    }

    shown = subprocess.run([ORDERS], env=environment, capture_output=True, text=True, check=False)

    assert shown.stdout.split() == ["update-address"]
