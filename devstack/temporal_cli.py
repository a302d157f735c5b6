"""The Temporal CLI: found, downloaded or built."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from devstack.cache import Say, cache_directory, exclusive
from devstack.child import guardian
from devstack.errors import NotInstalled, StackError
from devstack.guardian import kill_tree, leashed

VERSION = "1.5.1"
"""Later ones have replace directives in go.mod, which `go install` refuses."""

MODULE = f"github.com/temporalio/cli/cmd/temporal@v{VERSION}"

_FIRST_BYTE_SECONDS = 15.0
_DOWNLOAD_SECONDS = 600.0
_BUILD_SECONDS = 3600.0

_DOWNLOAD = """\
import asyncio, sys
from temporalio.testing import WorkflowEnvironment

async def main():
    environment = await WorkflowEnvironment.start_local(
        download_dest_dir=sys.argv[1], dev_server_download_version=sys.argv[2], ip="127.0.0.1"
    )
    await environment.shutdown()

asyncio.run(main())
"""


def find_temporal() -> Path:
    """The CLI on PATH if it is recent enough, else the cached one. No network.

    Raises:
        NotInstalled: there is neither.
    """
    on_path = shutil.which("temporal")
    if on_path is not None and _is_usable(Path(on_path)):
        return Path(on_path)
    if _cached().exists():
        return _cached()
    raise NotInstalled("the Temporal CLI is not installed; run python -m devstack.install")


def temporal_cli(say: Say) -> Path:
    """`find_temporal`, else downloaded by temporalio, else built with Go, into the cache.

    The file gets its name only when it is whole; of several processes one fetches it.

    Raises:
        StackError: it can be had in no way; the text says what to do.
    """
    try:
        return find_temporal()
    except NotInstalled:
        pass
    with exclusive("temporal", say):
        if not _cached().exists():
            with tempfile.TemporaryDirectory(dir=cache_directory()) as directory:
                _fetch(Path(directory), say).replace(_cached())
    return _cached()


def _cached() -> Path:
    return cache_directory() / f"temporal-{VERSION}"


def _fetch(directory: Path, say: Say) -> Path:
    say(f"temporal: downloading the Temporal CLI {VERSION}")
    binary = _download(directory, say)
    if binary is not None:
        return binary
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        raise StackError(
            "The Temporal CLI is neither on PATH nor can it be downloaded from temporal.download, "
            "and there is no Go to build it with. Do one of these and try again: put `temporal` "
            f"({VERSION} or later) on PATH; allow the download; install Go (https://go.dev/dl)."
        )
    say("temporal: it cannot be downloaded here; building it with Go (about 5 minutes, once)")
    return _build(go, directory, say)


def _download(directory: Path, say: Say) -> Path | None:
    """temporalio's own download, in a process of its own (its exit is not to be trusted: the
    file counts). None when that does not work or nothing arrives within 15 s.
    """

    def is_stuck(seconds: float) -> bool:
        return seconds > _FIRST_BYTE_SECONDS and not any(directory.iterdir())

    argv = [sys.executable, "-c", _DOWNLOAD, str(directory), f"v{VERSION}"]
    log = cache_directory() / "temporal-download.log"
    _run("downloading", argv, os.environ, log, say, _DOWNLOAD_SECONDS, is_stuck)
    binaries = [path for path in directory.iterdir() if _is_usable(path)]
    return binaries[0] if binaries else None


def _build(go: str, directory: Path, say: Say) -> Path:
    log = cache_directory() / "temporal-build.log"
    env = {**os.environ, "GOBIN": str(directory)}
    code = _run("building", [go, "install", MODULE], env, log, say, _BUILD_SECONDS)
    binary = directory / "temporal"
    if code != 0 or not _is_usable(binary):
        tail = "\n".join(f"  {line}" for line in log.read_text().splitlines()[-10:])
        raise StackError(
            f"`go install {MODULE}` failed with code {code}; {log} ends:\n{tail}\n"
            "Go 1.25 or later and a reachable Go module proxy are needed; or put a `temporal` "
            "binary on PATH."
        )
    return binary


def _run(
    what: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    say: Say,
    limit: float,
    is_stuck: Callable[[float], bool] = lambda _: False,
) -> int:
    """Run it with a progress line every 10 s; killed at the limit, when stuck, on an exception."""
    began = told = time.monotonic()
    pipe = guardian.pipe()
    with (
        log.open("w") as output,
        subprocess.Popen(
            leashed(argv, pipe, None, signal.SIGTERM),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[pipe],
        ) as process,
    ):
        try:
            while process.poll() is None:
                time.sleep(0.1)
                now = time.monotonic()
                if now - began > limit or is_stuck(now - began):
                    kill_tree([process.pid])
                if now - told > 10:
                    told = now
                    say(f"temporal: {what} it for {now - began:.0f} s now")
        except BaseException:
            kill_tree([process.pid])
            raise
    guardian.remove(process.pid)
    return process.returncode


def _is_usable(binary: Path) -> bool:
    """Whether it runs and knows the options the server is started with."""
    if not os.access(binary, os.X_OK) or binary.is_dir():
        return False
    argv = [str(binary), "server", "start-dev", "--help"]
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and "--sqlite-pragma" in answer.stdout
