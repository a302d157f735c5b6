"""The report's plots, as SVG."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.data import Run
from bench.sections import NAMES
from bench.tables import by

COLOURS: Final = {"full": "#0b6e4f", "flaky": "#c8553d", "usual": "#8d99ae", "best": "#2b59c3"}
PARTS: Final = (
    "Temporal server",
    "worker",
    "PostgreSQL",
    "partners' books",
    "Kafka",
    "ingest",
    "relay",
)


def offered(runs: Sequence[Run], directory: Path) -> None:
    """Against offered load: what is done, the time it takes, and how much is in time."""
    figure, axes = _figure(3)
    for name, group in by(runs, "variant").items():
        points = sorted(by(group, "share").values(), key=lambda at: at[0]["share"])
        rates = [at[0]["capacity"] * at[0]["share"] for at in points]
        for axis, key in zip(axes, ("rate", "p99", "on_time"), strict=True):
            values = [statistics.median(run[key] for run in at) for at in points]
            axis.plot(rates, values, "o-", color=COLOURS[name], label=NAMES[name])
    for axis, title in zip(
        axes, ("orders/s done", "p99 of the order's clock, s", "share in 15 s"), strict=True
    ):
        axis.set(title=title, xlabel="orders/s offered")
        axis.set_ylim(bottom=0)
    axes[0].legend(frameon=False)
    _save(figure, directory / "offered.svg")


def cpu(runs: Sequence[Run], directory: Path) -> None:
    """CPU an order, by process, stacked."""
    figure, (axis,) = _figure(1)
    groups = by(runs, "variant")
    names = [name for name in ("usual", "full", "best") if name in groups]
    below = [0.0] * len(names)
    for part in PARTS:
        values = [_ms(groups[name], part) for name in names]
        axis.barh([NAMES[name] for name in names], values, left=below, label=part)
        below = [one + other for one, other in zip(below, values, strict=True)]
    axis.set(title="CPU ms an order, by process")
    axis.legend(frameon=False, fontsize=8)
    _save(figure, directory / "cpu.svg")


def _ms(runs: Sequence[Run], part: str) -> float:
    used = [run["usage"]["cpu"].get(part, 0.0) / run["orders"] * 1000 for run in runs]
    return float(statistics.median(used))


def _figure(columns: int) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same data make the same file
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=(4.2 * columns + 1, 3.4), squeeze=False)
    return figure, axes[0]


def _save(figure: Any, file: Path) -> None:  # noqa: ANN401 - matplotlib is there for bench only
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
