"""Nothing outlives the process that started it, however that process ends.

A guardian is one small process beside each process that has children. It reads a pipe whose
writing end only its owner holds; the kernel closes that end when the owner ends, by return,
exception or SIGKILL. The guardian then lets every child that is left end by its own stop signal,
and kills what is still there after `GRACE_SECONDS`, with all descendants; frozen ones too.
It sits in a session of its own, so that neither Ctrl-C nor a kill of the owner's process group
reaches it. Chosen over PR_SET_PDEATHSIG, which is bound to a thread, lost at a change of user,
unknown outside Linux, and knows either grace or certainty but not both.

Children register themselves (see `leash.py`); the owner takes them off when it has reaped them.
If the guardian itself is killed, the owner starts another at its next child.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from multiprocessing.util import register_after_fork
from pathlib import Path

GRACE_SECONDS = 10.0
"""Kafka ends in 0.3 s and PostgreSQL in 0.2 s on an idle machine; this is for a loaded one."""

_LEASH = Path(__file__).with_name("leash.py")


class Guardian:
    """The owner's side: one per process, started with the first child. Safe to use from threads."""

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        self.grace = grace
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._fd = -1
        self._watched: dict[int, int] = {}
        atexit.register(self.close)
        register_after_fork(self, Guardian._let_go)

    def pipe(self) -> int:
        """The descriptor a child must inherit to register itself."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            return self._fd

    def add(self, pid: int, stop_signal: int) -> None:
        """Remember a child that registered itself, so that a new guardian can be told about it."""
        with self._lock:
            self._watched[pid] = int(stop_signal)

    def remove(self, pid: int) -> None:
        """Take a child off the list: it has ended and was reaped."""
        with self._lock:
            self._watched.pop(pid, None)
            if self._process is not None:
                with contextlib.suppress(BrokenPipeError):
                    os.write(self._fd, f"- {pid}\n".encode())

    def close(self) -> None:
        """End the guardian, and with it every child that is left."""
        with self._lock:
            if self._process is not None:
                os.close(self._fd)
                self._process.wait()
                self._process = None

    def _start(self) -> None:
        if self._process is not None:
            os.close(self._fd)
        reading, self._fd = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(self.grace)],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        os.close(reading)
        for pid, stop_signal in self._watched.items():
            os.write(self._fd, f"+ {pid} {stop_signal}\n".encode())

    def _let_go(self) -> None:
        """In a fork by multiprocessing: close the pipe, or the guardian would wait for the fork
        to end too. (Not by os.register_at_fork: uvloop calls that in what is about to be a child.)
        """
        self._lock = threading.Lock()
        self._watched = {}
        if self._process is not None:
            os.close(self._fd)
            self._process.returncode = 0  # it is no child of the fork
            self._process = None


def leashed(
    argv: Sequence[str | Path], pipe: int | str, user: str | None, stop_signal: int
) -> list[str]:
    """The command line to run instead of `argv` for a child of this process.

    `pipe`: what `Guardian.pipe` gave, inherited; or a path that leads to it.
    """
    leash = [sys.executable, "-I", "-S", str(_LEASH), str(pipe), str(os.getpid())]
    return [*leash, str(int(stop_signal)), user or "-", *map(str, argv)]


def kill_tree(leaders: Iterable[int]) -> None:
    """SIGKILL these session leaders, their process groups and all their descendants."""
    parents = _parents()
    doomed = set(leaders)
    while found := {pid for pid, parent in parents.items() if parent in doomed} - doomed:
        doomed |= found
    for pid in doomed:
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)


def _parents() -> dict[int, int]:
    """pid -> parent pid of every process; empty where there is no /proc (groups must do there)."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    return found


def _started(pid: int) -> str:
    """When a process started, in ticks since boot; tells it from a later one with the same pid."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main() -> None:
    """The guardian itself: read the list until the owner is gone, then end what is on it."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    listed: dict[int, tuple[int, str]] = {}
    for line in sys.stdin:
        sign, pid, *stop_signal = line.split()
        if sign == "+":
            listed[int(pid)] = int(stop_signal[0]), _started(int(pid))
        else:
            listed.pop(int(pid), None)
    watched = {pid: number for pid, (number, start) in listed.items() if _started(pid) == start}
    for pid, number in watched.items():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)  # a frozen one may end in peace as well
    deadline = time.monotonic() + float(sys.argv[1])
    while (left := [pid for pid in watched if _alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill_tree(left)


if __name__ == "__main__":
    main()
