"""Temporal's test server, whose clock skips what nobody needs to wait for."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

from devstack.child import guardian
from devstack.guardian import leashed
from devstack.java import JAVA, classpath


def time_skipping_executable(directory: Path) -> Path:
    """Write a program into `directory` for temporalio to start from this process:
    `WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(...))`. Give it a longer
    `test_server_startup_timeout` than its 5 s: the server is up in 1.5 s on an idle machine only.

    The server ends with its environment, or at the latest with this process; its output goes to
    a log beside the program.

    Raises:
        NotInstalled: its jars are not fetched yet.
    """
    java = [str(JAVA), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    java += ["-cp", classpath("time-skipping"), "io.temporal.testserver.TestServer"]
    pipe = f"/proc/{os.getpid()}/fd/{guardian.pipe()}"
    argv = leashed(java, pipe, None, signal.SIGTERM) if Path(pipe).exists() else java
    directory.mkdir(parents=True, exist_ok=True)
    script = directory / "time-skipping-server"
    log = shlex.quote(str(script.with_suffix(".log").absolute()))
    script.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@" >>{log} 2>&1\n')
    script.chmod(0o755)
    return script
