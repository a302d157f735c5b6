"""The sections of the report about the whole service."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from bench.data import Run
from bench.tables import by, pairs, ratios, share, spread, table

NAMES: Final = {
    "full": "the service",
    "flaky": "the service, failing partners",
    "usual": "usual skeleton",
    "best": "best skeleton",
}


def orders(runs: Sequence[Run]) -> str:
    """An order beside the two skeletons."""
    groups = by(runs, "variant")
    rows = [
        [
            NAMES[name],
            spread([run["rate"] for run in groups[name]], 1),
            spread([run["cpu_an_order"] * 1000 for run in groups[name]], 0),
            groups[name][-1]["events"],
            groups[name][-1]["tasks"],
            len(groups[name]),
        ]
        for name in ("full", "usual", "best")
        if name in groups
    ]
    compared = [
        [
            f"the service / {NAMES[other]}",
            spread(ratios(runs, "full", other, "rate")),
            spread([1 / r for r in ratios(runs, "full", other, "cpu_an_order")]),
            goal,
        ]
        for other, goal in (("usual", "1.0, better 1.2"), ("best", "0.7"))
        if ratios(runs, "full", other, "rate")
    ]
    return f"""## An order beside two skeletons

50 orders under way at any time. The service: from the command on Kafka to the last event on Kafka,
with its database, and partners that answer after 30 ms. Skeletons: the same steps with nothing in
them, started by the client (`bench/skeletons.py`). Each on new servers of its own, in random order
within a round.

{
        table(
            [
                "",
                "orders/s",
                "CPU ms an order",
                "history events",
                "workflow tasks",
                "rounds",
            ],
            rows,
        )
    }
{table(["ratio within a round", "orders/s", "orders per CPU second", "goal"], compared)}
CPU ms an order, by process (medians):

{_processes(groups)}
![CPU an order by process](cpu.svg)
"""


def _processes(groups: dict[str, list[Run]]) -> str:
    names = [name for name in NAMES if name in groups]
    parts = list(dict.fromkeys(part for name in names for part in groups[name][0]["usage"]["cpu"]))
    rows = [[part, *(_ms(groups[name], part) for name in names)] for part in parts]
    return table(["", *(NAMES[name] for name in names)], rows)


def _ms(runs: Sequence[Run], part: str) -> str:
    found = [
        run["usage"]["cpu"][part] / run["orders"] * 1000
        for run in runs
        if part in run["usage"]["cpu"]
    ]
    return f"{statistics.median(found):.1f}" if found else "-"


def faults(runs: Sequence[Run]) -> str:
    """In time and with the money right, whatever partners do."""
    rows = []
    for name, group in by(runs, "variant").items():
        money: dict[str, int] = defaultdict(int)
        for run in group:
            for what, count in run["money"].items():
                money[what] += count
        wrong = (
            money["charged_and_not_shipped"]
            + money["charged_twice"]
            + money["refunded_too_often"]
            + money["shipped_and_not_charged"]
        )
        rows.append(
            [
                NAMES[name],
                sum(run["orders"] for run in group),
                sum(run["shipped"] for run in group),
                share(
                    sum(run["on_time"] * run["orders"] for run in group)
                    / sum(run["orders"] for run in group)
                ),
                spread([run["p50"] for run in group]),
                spread([run["p99"] for run in group]),
                spread([run["worst"] for run in group]),
                spread([run["rate"] for run in group], 1),
                spread([run["cpu_an_order"] * 1000 for run in group], 0),
                money["refunded"],
                wrong,
            ]
        )
    heads = ["", "orders", "shipped", "shipped in 15 s", "p50 s", "p99 s", "worst s"]
    heads += ["orders/s", "CPU ms an order", "refunded", "money wrong"]
    return f"""## Partners that work, and partners that fail

500 orders on Kafka at once, again and again, so that the service is as busy as it lets itself be
(`ingest/window.py`, at most 200 in motion). Failing partners: each call raises with probability
0.33, hangs for 300 s with 0.34; half of those take effect all the same. Seconds from the
applied start to the end, of all orders. Money wrong: charged without being shipped or refunded,
charged or refunded twice, or shipped without a charge, counted in the partners' own books.

{table(heads, rows)}"""


def offered(runs: Sequence[Run]) -> str:
    """More and more orders."""
    rows = [
        [
            NAMES[name],
            f"{share_:.2f}",
            f"{group[0]['capacity'] * share_:.1f}",
            spread([run["rate"] for run in group], 1),
            share(statistics.mean(run["on_time"] for run in group)),
            *(spread([run[key] for run in group]) for key in ("p50", "p99")),
            spread([run["from_due_p99"] for run in group], 1),
            spread([run["cpu_an_order"] * 1000 for run in group], 0),
            spread([run["usage"]["others"] for run in group]),
        ]
        for (name, share_), group in _offers(runs).items()
    ]
    heads = ["", "share", "offered/s", "done/s", "in 15 s", "p50 s", "p99 s"]
    heads += ["p99 s with waiting", "CPU ms an order", "strangers' cores"]
    return f"""## More and more orders

Offered for 12 s at a steady rate, whatever becomes of them; 1 is what the service did with 50
orders under way before. Done/s counts to the end of the last order. The order's own clock
(p50, p99, in 15 s) begins when its start is applied; starts wait in Kafka until there is room, and
that waiting is in "with waiting" only. Skeletons have no admission: their clock begins
when they are due.

{table(heads, rows)}
{_offered_by_process(runs)}
![Time and share in time against offered load](offered.svg)
"""


def _offers(runs: Sequence[Run]) -> dict[tuple[str, float], list[Run]]:
    """Group by variant and offered share, in order."""
    groups: dict[tuple[str, float], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (list(NAMES).index(run["variant"]), run["share"])):
        groups[run["variant"], run["share"]].append(run)
    return groups


def _offered_by_process(runs: Sequence[Run]) -> str:
    text = []
    for name in ("full", "flaky"):
        groups = {at: group for (of, at), group in _offers(runs).items() if of == name}
        if not groups:
            continue
        parts = next(iter(groups.values()))[0]["usage"]["cpu"]
        rows = [[part, *(_ms(group, part) for group in groups.values())] for part in parts]
        heads = [f"CPU ms an order, {NAMES[name]}, at share", *(f"{at:.2f}" for at in groups)]
        text.append(table(heads, rows))
    return "\n".join(text)


def stored(runs: Sequence[Run]) -> str:
    """Many orders stored."""
    groups = by(runs, "size")
    order = [s for s in ("0", "100000", "1000000", "review") if s in groups]
    rows = []
    for size in order:
        cpu = [a / b for a, b in pairs(runs, "size", size, "0", "cpu_an_order")]
        rate = [a / b for a, b in pairs(runs, "size", size, "0", "rate")]
        rows.append(
            [
                _stored(size, groups[size][-1]),
                spread([run["cpu_an_order"] * 1000 for run in groups[size]], 0),
                spread(cpu),
                _ms(groups[size], "PostgreSQL"),
                _ms(groups[size], "Temporal server"),
                spread(rate),
                len(groups[size]),
            ]
        )
    heads = ["", "CPU ms an order", "/ empty", "PostgreSQL ms", "Temporal ms"]
    return f"""## Many orders stored, many waiting

{table([*heads, "orders/s / empty", "rounds"], rows)}"""


def _stored(size: str, run: Run) -> str:
    waiting = f"{run['waiting']:,} wait for a reviewer"
    return waiting if size == "review" else f"{int(size):,} stored"


def compare(runs: Sequence[Run]) -> str:
    """What was tried against the costs, before and after."""
    rows = [
        [
            what,
            spread([run["rate"] for run in group]),
            spread([run["cpu"] for run in group]),
            *(spread([run[of]["usage"]["others"] for run in group]) for of in ("before", "after")),
            len(group),
        ]
        for what, group in by(runs, "what").items()
    ]
    heads = ["", "orders/s", "CPU an order"]
    return f"""## What was tried

Before and after in turns on the same machine, the service with 50 orders under way; ratios of
after to before within a round. Strangers' cores say how far a round can be trusted.

{table([*heads, "strangers before", "strangers after", "rounds"], rows)}"""


def admission(runs: Sequence[Run]) -> str:
    """Admission before and after."""
    rows = [
        [
            run["what"],
            run["orders"],
            run["shipped"],
            share(run["on_time"]),
            f"{run['rate']:.1f}",
            f"{run['p50']:.1f}",
            f"{run['p99']:.1f}",
            f"{run['usage']['others']:.2f}",
        ]
        for run in runs
    ]
    heads = ["", "orders at once", "shipped", "shipped in 15 s", "orders/s", "p50 s", "p99 s"]
    return f"""## Admission on a machine with little to spare

Failing partners, all starts at once, `python -m bench.faults --quick flaky`. A fixed bound of 200
orders in motion let more in than got through in time; now a window follows what does
(`ingest/window.py`).

{table([*heads, "cores others used"], rows)}"""


def bounds(runs: Sequence[Run]) -> str:
    """Bounds of admission side by side."""
    groups: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run["variant"], run["bound"]].append(run)
    rows = [
        [
            NAMES[name],
            bound,
            spread([run["peak"] for run in group], 0),
            share(
                sum(run["on_time"] * run["orders"] for run in group)
                / sum(run["orders"] for run in group)
            ),
            spread([run["p99"] for run in group], 1),
            spread([run["rate"] for run in group], 1),
            len(group),
        ]
        for (name, bound), group in sorted(groups.items())
    ]
    heads = ["", "bound", "in motion at most", "shipped in 15 s", "p99 s", "orders/s", "rounds"]
    return f"""## The bound of admission

{runs[-1]["orders"]} starts at once for each `MAX_ORDERS_IN_MOTION`, each on a service of its
own, in random order within a round. The window (`ingest/window.py`) begins with 16 and follows
what gets through in time; the bound is where it ends at the latest.

{table(heads, rows)}"""
