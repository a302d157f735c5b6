"""Makes docs/bench/report.md of what has been measured, whenever that was.

    python -m bench.report [--quick]

``--quick`` reports on the quick look instead.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench import part_sections, plots, sections
from bench.board_section import board
from bench.data import KEPT, LOOK, Run, load
from bench.tables import spread, table

PARTS: Final = (
    *("orders", "faults", "bounds", "offered", "stored", "commits"),
    *("ingest", "relay", "rest", "profile", "board"),
)
"""What ``make bench`` runs, in this order."""
SECTIONS: Final[dict[str, Callable[[Sequence[Run]], str]]] = {
    "orders": sections.orders,
    "faults": sections.faults,
    "admission": sections.admission,
    "bounds": sections.bounds,
    "offered": sections.offered,
    "stored": sections.stored,
    "commits": part_sections.commits,
    "ingest": part_sections.ingest,
    "relay": part_sections.relay,
    "rest": part_sections.rest,
    "profile": part_sections.profile,
    "board": board,
    "compare": sections.compare,
}

_HEAD: Final = """# Benchmarks

Made by `make bench` from `data/`, where each measurement stands with its time, commit and command;
`make bench PART=...` adds to one part. Figures of one machine mean little by themselves, so each
stands beside what it is compared with, measured in turns on the same machine: read the ratios.
Medians; in brackets the least and the most.
"""


def text(directory: Path) -> str:
    """Return the report of what ``directory`` has."""
    found = {part: load(directory, part) for part in SECTIONS}
    parts = [_HEAD, _machine([run for runs in found.values() for run in runs])]
    for part, make in SECTIONS.items():
        if found[part]:
            parts += [make(found[part]), _made_by(found[part])]
    return "\n".join(parts)


def report(directory: Path) -> Path:
    """Write the report and its plots; return the report's path."""
    if runs := load(directory, "offered"):
        plots.offered(runs, directory)
    if runs := load(directory, "orders"):
        plots.cpu(runs, directory)
    file = directory / "report.md"
    file.write_text(text(directory))
    return file


def _machine(runs: Sequence[Run]) -> str:
    newest = max(runs, key=lambda run: run["at"])
    rows = [[name, value] for name, value in newest["machine"].items()]
    busy = [run["usage"] for run in runs if "usage" in run]
    if busy:
        rows += [
            ["load average at the end of a run", spread([u["load_average"] for u in busy], 1)],
            ["cores used by strangers during a run", spread([u["others"] for u in busy], 2)],
        ]
    return "## The machine\n\n" + table(["", ""], rows)


def _made_by(runs: Sequence[Run]) -> str:
    commands = sorted({run["command"] for run in runs})
    days = sorted({run["at"][:10] for run in runs})
    commits = sorted({run["commit"] for run in runs})
    asked = ", ".join(f"`{command}`" for command in commands)
    return f"Measured by {asked} on {', '.join(days)} at {', '.join(commits)}.\n"


def main() -> None:
    """Read the arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    print(report(LOOK if parser.parse_args().quick else KEPT))


if __name__ == "__main__":
    main()
