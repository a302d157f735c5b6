"""Where programs and libraries are kept: per user, shared by all clones."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Say = Callable[[str], None]
"""Takes one line for a person."""


def cache_directory() -> Path:
    """`orders-devstack` below `$XDG_CACHE_HOME` or `~/.cache`; made if it is not there."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(base) / "orders-devstack"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def exclusive(what: str, say: Say) -> Iterator[None]:
    """Only one process of this user at a time; the others wait and say so every 10 s."""
    with (cache_directory() / f"{what}.lock").open("w") as lock:
        began = said = time.monotonic()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - said >= 10:
                    said = time.monotonic()
                    say(f"{what}: another process is fetching it ({said - began:.0f} s)")
                time.sleep(0.1)
        yield
