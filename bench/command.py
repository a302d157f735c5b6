"""What the parts of the benchmark have in common on the command line."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.data import KEPT, LOOK, Run, forget, keep


@dataclass(frozen=True, slots=True)
class Options:
    """``quick``: only a look. Measurements are added to those in ``directory``."""

    quick: bool
    rounds: int
    directory: Path
    only: tuple[str, ...] = ()


def options(doc: str | None, part: str, rounds: int, choices: tuple[str, ...] = ()) -> Options:
    """Read the arguments of a part; ``--fresh`` forgets what was measured before."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"a look, kept in {LOOK}")
    parser.add_argument("--aside", action="store_true", help=f"all of it, kept in {LOOK}")
    parser.add_argument("--rounds", type=int, help=f"how often (default {rounds})")
    parser.add_argument("--fresh", action="store_true", help="forget earlier measurements")
    if choices:
        parser.add_argument("only", nargs="*", choices=[*choices, []], help="default: all")
    given = parser.parse_args()
    directory = LOOK if given.quick or given.aside else KEPT
    if given.fresh or given.quick or given.aside:
        forget(directory, part)
    only = tuple(getattr(given, "only", ())) or choices
    return Options(given.quick, given.rounds or (1 if given.quick else rounds), directory, only)


class Telling:
    """A bar for a long run, and a line for each measurement."""

    def __init__(self, part: str, total: int, directory: Path) -> None:
        self._part = part
        self._directory = directory
        self._began = datetime.now(UTC).isoformat(timespec="seconds")
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(highlight=False),
        )
        self._task = self._bar.add_task(part, total=total)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it is."""
        self._bar.stop()

    def now(self, what: str) -> Callable[[str], None]:
        """Name what is measured next; returns where servers may talk to."""
        self._bar.update(self._task, description=f"{self._part}: {what}")
        return lambda line: self._bar.update(
            self._task, description=f"{self._part}: {what}: {line}"
        )

    def keep(self, run: Run, line: str) -> None:
        """Keep a measurement and tell it."""
        keep(self._directory, self._part, {"began": self._began, **run})
        self._bar.advance(self._task)
        self._bar.console.print(f"{line}  (load average {os.getloadavg()[0]:.1f})")
