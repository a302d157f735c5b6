"""How figures are grouped, compared and written down."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from bench.data import Run


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def spread(values: Sequence[float], digits: int = 2, unit: str = "") -> str:
    """Return the median, and the least and the most where there are several; - without any."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):.{digits}f}{unit}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def share(value: float) -> str:
    """Return a share as percent, with more digits close to all."""
    return f"{value:.2%}" if value < 1 else "100 %"


def machine_of(run: Run) -> str:
    """Return the cores that a run was measured on."""
    return str(run["machine"]["cores"])


def machines(runs: Iterable[Run]) -> str:
    """Name the machines that measured."""
    return " and ".join(dict.fromkeys(machine_of(run) for run in runs))


def by(runs: Sequence[Run], key: str) -> dict[Any, list[Run]]:
    """Group measurements by a field."""
    groups: dict[Any, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run[key]].append(run)
    return groups


def pairs(
    runs: Sequence[Run], key: str, one: object, other: object, figure: str
) -> list[tuple[float, float]]:
    """Return a figure of ``one`` and of ``other`` for each round that has both."""
    rounds: dict[tuple[str, int], dict[object, float]] = defaultdict(dict)
    for run in runs:
        rounds[run.get("began", ""), run["round"]][run[key]] = run[figure]
    return [(both[one], both[other]) for both in rounds.values() if {one, other} <= both.keys()]


def ratios(runs: Sequence[Run], one: str, other: str, figure: str) -> list[float]:
    """Return ``one`` / ``other`` for each round that has both."""
    return [a / b for a, b in pairs(runs, "variant", one, other, figure)]
