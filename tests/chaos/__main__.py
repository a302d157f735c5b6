"""``python -m tests.chaos``: one run, a report, exit code 0 when every promise was kept."""

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from tests.chaos.judge import judge, meaningless
from tests.chaos.plan import KINDS
from tests.chaos.planted import BUGS
from tests.chaos.report import report
from tests.chaos.run import Options, run

RATE: Final = 3.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def main(
    seed: Annotated[int, typer.Option(help="Repeats stories and faults of an earlier run.")] = 0,
    minutes: Annotated[float, typer.Option(min=0.2, help="How long load and faults go on.")] = 3.0,
    rate: Annotated[float, typer.Option(min=0.1, help="Orders a second.")] = RATE,
    only: Annotated[str, typer.Option(help="Kinds of faults, by comma.")] = "",
    bug: Annotated[str, typer.Option(help="Plant this bug (see docs/chaos.md).")] = "",
    keep: Annotated[bool, typer.Option(help="Keep data and logs in any case.")] = False,
) -> None:
    """Break the service under load, and check that every promise was kept."""
    seed = seed or int(time.time()) % 100_000
    kinds = tuple(kind.strip() for kind in only.split(",") if kind.strip()) or tuple(KINDS)
    if unknown := set(kinds) - KINDS.keys():
        known = "\n  ".join(KINDS)
        raise typer.BadParameter(f"no fault is called {unknown.pop()!r}; there are\n  {known}")
    if bug and bug not in BUGS:
        raise typer.BadParameter(f"no bug is called {bug!r}; there are {', '.join(BUGS)}")
    directory = Path(tempfile.mkdtemp(prefix="orders-chaos-"))
    options = Options(seed, minutes, rate, directory, kinds, bug or None)
    command = _command(seed, minutes, rate, only, bug)
    _say(f"{command} (data and logs in {directory})")
    evidence = asyncio.run(run(options, _say))
    families = {KINDS[kind].family for kind in kinds}
    violations, doubts = judge(evidence), list(meaningless(evidence, minutes, families))
    text = report(evidence, violations, doubts)
    (directory / "report.txt").write_text(f"{command}\n{text}\n")
    _say(text)
    kept = bool(violations or doubts or keep)
    if not kept:
        shutil.rmtree(directory)
    verdict = "Broken promises" if violations else "Proves nothing" if doubts else "All kept"
    _say(f"{verdict}. Repeat with: {command}" + (f"; data and logs: {directory}" if kept else ""))
    raise typer.Exit(1 if violations or doubts else 0)


def _command(seed: int, minutes: float, rate: float, only: str, bug: str) -> str:
    """Return what repeats this run."""
    more = [f"--rate {rate:g}"] if rate != RATE else []
    more += [f"--only '{only}'"] if only else []
    more += [f"--bug {bug}"] if bug else []
    arguments = f' ARGS="{" ".join(more)}"' if more else ""
    return f"make chaos SEED={seed} MINUTES={minutes:g}{arguments}"


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(app())
