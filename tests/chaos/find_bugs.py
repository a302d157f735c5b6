"""``python -m tests.chaos.find_bugs``: does chaos find what is known to be wrong?

One run for each planted bug, with the faults that bring it to light. Exit code 0 when a check
that should find the bug did, for each of them; with ``--control`` when none did without it.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Final

import typer

from tests.chaos.judge import judge
from tests.chaos.planted import BUGS
from tests.chaos.run import Options, run

SETTLE_SECONDS: Final = 40.0
"""Many a bug keeps its run from ever settling."""

SHOWN: Final = 5
"""Of each check."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def main(
    bugs: Annotated[list[str] | None, typer.Argument(help="None: all of them.")] = None,
    seed: Annotated[int, typer.Option(help="Of stories and faults.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.2, help="Load for each bug.")] = 1.0,
    control: Annotated[bool, typer.Option(help="The same runs without the bugs.")] = False,
) -> None:
    """Plant one bug after the other and see which check finds it.

    As a control no bug is planted, and no check that should find one may find anything.
    """
    lines = ["| bug | found by | also | load, s | to the verdict, s |", "|---|---|---|---|---|"]
    wrong = []
    for name in bugs or BUGS:
        began = time.monotonic()
        found = _find(name, seed, minutes, planted=not control)
        due = BUGS[name].caught_by & found
        if bool(due) is control:
            wrong.append(name)
        seconds = f"{60 * minutes:.0f} | {time.monotonic() - began:.0f}"
        label = f"(without {name})" if control else name
        lines.append(f"| {label} | {_join(due) or 'nothing'} | {_join(found - due)} | {seconds} |")
        print(lines[-1], flush=True)
    print("\n".join(lines))
    told = "Found without a bug" if control else "Missed"
    print(f"{told}: {', '.join(wrong)}" if wrong else "As it should be.")
    raise typer.Exit(1 if wrong else 0)


def _find(name: str, seed: int, minutes: float, *, planted: bool) -> set[str]:
    bug = BUGS[name]
    directory = Path(tempfile.mkdtemp(prefix="orders-chaos-"))
    options = Options(
        seed,
        minutes,
        bug.rate,
        directory,
        bug.kinds,
        name if planted else None,
        bug.stories,
        settle_seconds=SETTLE_SECONDS,
    )
    try:
        evidence = asyncio.run(run(options, lambda text: print(f"{name}: {text}", flush=True)))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    violations = judge(evidence)
    told: Counter[str] = Counter()
    for violation in violations:
        told[violation.check] += 1
        if told[violation.check] <= SHOWN:
            print(f"{name}: {violation.check}: {violation.subject}: {violation.text}"[:500])
    return {violation.check for violation in violations}


def _join(names: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names))


if __name__ == "__main__":
    sys.exit(app())
