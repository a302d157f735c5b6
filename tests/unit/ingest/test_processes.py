"""A role that does not end when it is asked to is named."""

from pathlib import Path

import pytest

from ingest import processes
from ingest.processes import Role

DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "from ingest import notify; notify.ready(); time.sleep(600)"
)


class DeafRole(Role):
    program = ("-c", DEAF)


async def test_a_role_that_has_to_be_killed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_GRACE_SECONDS", 0.5)
    monkeypatch.setattr(processes, "SLOW_STOP_SECONDS", 0.1)
    said: list[str] = []
    role = DeafRole("deaf", {}, tmp_path / "deaf.log", said.append)
    await role.start()
    await role.stop()
    assert [line.split(" ", 1)[0] for line in said] == ["deaf"] * 3
    assert "finishes what it began" in said[1]
    assert "was killed" in said[2]
    assert str(tmp_path / "deaf.log") in said[2]
