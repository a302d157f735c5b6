"""kcat, the way people use it."""

import asyncio
import shutil
import subprocess

import pytest

needs_kcat = pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")


async def shell(line: str) -> str:
    """Run one pasted line in a shell and return what it prints; it has to exit 0."""
    done = await asyncio.to_thread(
        subprocess.run, line, shell=True, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{line}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


async def send(bootstrap: str, topic: str, *lines: str) -> None:
    """Produce each line as one message, without key or headers."""
    await asyncio.to_thread(
        subprocess.run,
        ["kcat", "-P", "-b", bootstrap, "-t", topic],
        input="".join(f"{line}\n" for line in lines).encode(),
        capture_output=True,
        timeout=60,
        check=True,
    )


async def read(bootstrap: str, topic: str) -> list[str]:
    """Return every message of the topic, as kcat prints it."""
    printed = await shell(f"kcat -C -b {bootstrap} -t {topic} -e -q")
    return printed.splitlines()
