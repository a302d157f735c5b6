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
from bench.tables import machine_of, machines, spread, table

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
    parts = [_HEAD, _machines([run for runs in found.values() for run in runs])]
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


def _machines(runs: Sequence[Run]) -> str:
    """Tell of every machine that measured, the newest first, and how busy it was."""
    found: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run["at"], reverse=True):
        found.setdefault(machine_of(run), []).append(run)
    told = "\n".join(_machine(measured) for measured in found.values())
    if len(found) == 1:
        return f"## The machine\n\n{told}"
    return f"""## The machines

Not all was measured on the same one. Each section names its own; what two of them did is not to be
compared.

{told}"""


def _machine(runs: Sequence[Run]) -> str:
    rows = [[name, value] for name, value in runs[0]["machine"].items()]
    busy = [run["usage"] for run in runs if "usage" in run]
    if busy:
        rows += [
            ["load average at the end of a run", spread([u["load_average"] for u in busy], 1)],
            ["cores used by strangers during a run", spread([u["others"] for u in busy], 2)],
        ]
    return table(["", ""], rows)


def _made_by(runs: Sequence[Run]) -> str:
    commands = sorted({run["command"] for run in runs})
    days = sorted({run["at"][:10] for run in runs})
    commits = sorted({run["commit"] for run in runs})
    asked = ", ".join(f"`{command}`" for command in commands)
    at = ", ".join(commits)
    return f"Measured by {asked} on {', '.join(days)} at {at}; cores: {machines(runs)}.\n"


def main() -> None:
    """Read the arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    print(report(LOOK if parser.parse_args().quick else KEPT))


if __name__ == "__main__":
    main()
