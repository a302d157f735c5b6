"""A parent to be killed: `python parent.py DIRECTORY`.

It starts a stack, a time-skipping server, and a child that ignores SIGTERM and has a child of its
own in a session of its own; says "all up" and waits.
"""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from devstack import Child, Ports, Stack, time_skipping_executable
from devstack.child import guardian

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
time.sleep(3600)
"""


async def main(directory: Path) -> None:
    guardian.grace = 2.0
    async with Stack(directory, Ports.free(), lambda line: print(line, flush=True)):
        await Child.spawn("stubborn", [sys.executable, "-c", STUBBORN])
        await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=str(time_skipping_executable(directory)),
            test_server_startup_timeout=timedelta(seconds=60),
        )
        print("all up", flush=True)
        await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1])))
