"""The board's section of the report."""

from collections.abc import Sequence

from bench.data import Run
from bench.tables import by, pairs, spread, table


def board(runs: Sequence[Run]) -> str:
    """The board looked at by none, one and ten."""
    looked = [run for run in runs if "browsers" in run]
    rows = []
    for browsers, group in sorted(by(looked, "browsers").items()):
        delays = sorted(delay for run in group for delay in run["delays"])
        rows.append(
            [
                browsers,
                spread([run["rate"] for run in group], 0),
                spread([run["cpu"] * 100 for run in group], 0, " %"),
                *(
                    f"{delays[int((len(delays) - 1) * part)]:.0f}" if delays else "-"
                    for part in (0.5, 0.95, 1)
                ),
                f"{len(delays)} of {len(delays) + sum(run['unseen'] for run in group)}",
                spread([run["memory"] / 2**20 for run in group], 0),
            ]
        )
    heads = ["browsers", "events/s", "of a core", "p50 ms", "p95 ms", "most ms", "seen", "MiB"]
    ten = pairs(looked, "browsers", 10, 1, "cpu")
    return f"""## The board

5,000 open orders and 300 events/s. The delay is from the broker's acknowledgement of an order's
first event to its line in the list as it reaches a browser; `seen` of the orders looked for.

{table(heads, rows)}
Ten browsers / one, CPU: {spread([a / b for a, b in ten])}. Killed, the load going on: complete
again after {spread([run["killed"] for run in runs if "killed" in run], 0, " s")}.
"""
