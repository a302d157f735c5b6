"""Fetch in advance all that the servers need: `python -m devstack.install`.

Whatever is there already is left alone, so it may run any number of times, in several processes
too. Exit code 1 and a clear line when something cannot be had.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from devstack.cache import Say, cache_directory, exclusive
from devstack.errors import StackError, StartFailed
from devstack.java import fetch
from devstack.kafka import Kafka, startup_cache
from devstack.ports import free_port
from devstack.server import Home
from devstack.temporal_cli import temporal_cli

_TRAINING_SECONDS = 180.0


def install(say: Say) -> None:
    """Fetch the jars of Kafka and of the time-skipping server and the Temporal CLI, and prepare
    Kafka's start-up cache.

    Raises:
        StackError: something cannot be had; the text says what to do.
    """
    fetch("kafka", say)
    fetch("time-skipping", say)
    temporal_cli(say)
    if not startup_cache().exists():
        _prepare_kafka(say)


def _prepare_kafka(say: Say) -> None:
    """Run a broker once so that the JVM keeps its classes: later ones start in a third of the
    time. Without that they start too, so a failure is told and is no error.
    """
    with exclusive("kafka-startup", say), tempfile.TemporaryDirectory(dir=cache_directory()) as new:
        if startup_cache().exists():
            return
        say("kafka: preparing a quick start (10 s, once)")
        trained = Path(new) / "kafka.aot"
        try:
            asyncio.run(_train(Path(new), trained, say))
            trained.replace(startup_cache())
            _remove_old(startup_cache().parent)
        except (StartFailed, FileNotFoundError) as error:
            say(f"kafka: it will start without a start-up cache: {error}")


def _remove_old(directory: Path) -> None:
    """Keep the three newest caches: each virtual environment has its own, of 65 MB."""
    caches = sorted(directory.glob("kafka-*.aot"), key=lambda path: path.stat().st_mtime)
    for path in caches[:-3]:
        path.unlink(missing_ok=True)


async def _train(directory: Path, cache: Path, say: Say) -> None:
    (directory / "logs").mkdir()
    home = Home(directory, (), persistent=False, say=lambda _: None, died=say)
    kafka = Kafka(home, free_port(), train=cache)
    try:
        await kafka.start()
    finally:
        await kafka.stop(_TRAINING_SECONDS)  # the JVM writes the cache when it ends


def main() -> int:
    """Run `install` and give the exit code."""
    try:
        install(lambda line: print(line, flush=True))
    except StackError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
