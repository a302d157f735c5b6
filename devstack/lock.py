"""Resolve the Java programs anew and write `locks/`: `python -m devstack.lock`."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from devstack.java import COORDINATES, JAVA_HOME, LOCKS


def main() -> None:
    """Ask Maven Central through jgo; run it after a change of `COORDINATES`."""
    os.environ["JAVA_HOME"] = str(JAVA_HOME)  # or jgo downloads a Java of its own
    logging.getLogger("jgo").setLevel(logging.ERROR)  # it misses a tool that it does not need
    import jgo

    for name, coordinates in COORDINATES.items():
        with tempfile.TemporaryDirectory() as directory:
            lock = jgo.build(coordinates, cache_dir=Path(directory)).lock_path.read_text()
        (LOCKS / f"{name}.toml").write_text(lock)
        print(f"{name}: {lock.count('[[dependencies]]')} jars locked", flush=True)


if __name__ == "__main__":
    main()
