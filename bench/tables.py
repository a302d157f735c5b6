"""How figures are written down."""

import statistics
from collections.abc import Iterable, Sequence


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
