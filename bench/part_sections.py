"""The sections of the report about one part of the service."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from bench.data import Run
from bench.tables import by, machine_of, pairs, ratios, spread, table

FORMS: Final = {"after": "NOTIFY after the write", "within": "within it", "silent": "none"}
REQUESTS: Final = {"start": "start", "status": "status", "bare": "bare", "late": "client"}
REST_PARTS: Final = (
    *("api", "Kafka", "PostgreSQL", "Temporal server", "worker", "ingest", "relay"),
    *("bare", "bench", "others"),
)


def commits(runs: Sequence[Run]) -> str:
    """Writes a second, and what waking the relay costs them."""
    rows = []
    for writers, group in by(runs, "writers").items():
        rate = {name: [run["rate"] for run in of] for name, of in by(group, "form").items()}
        both = pairs(group, "form", "after", "within", "rate")
        ratio = spread([after / within for after, within in both])
        rows.append([writers, *(spread(rate[form], 0) for form in FORMS), ratio])
    heads = ["writers at once", *(f"commits/s, {told}" for told in FORMS.values())]
    return f"""## Writes of one PostgreSQL

Each writer writes for an order of its own, each write is a commit that reaches the disk. NOTIFY,
which wakes the relay, holds a lock of the whole server from before its commit until after the
flush; within the transaction of the write it kept commits from sharing a flush, so it has one of
its own, which has nothing to flush.

{table([*heads, "after / within"], rows)}"""


def ingest(runs: Sequence[Run]) -> str:
    """Ingest beside the bare client."""
    groups = by(runs, "variant")
    rows = [
        [
            name,
            spread([run["rate"] for run in groups[key]], 0),
            spread([run["cpu"] / run["commands"] * 1000 for run in groups[key]]),
        ]
        for key, name in (("ingest", "ingest"), ("bare", "bare calls"))
        if key in groups
    ]
    delivered = [run for run in runs if "cpu" in run]
    rate, cpu = (ratios(delivered, "ingest", "bare", figure) for figure in ("rate", "cpu"))
    return f"""## Ingest alone

Start commands from Kafka into Temporal without a worker, against plain loops that make the same
calls to the same server, as many at a time.

{table(["", "commands/s", "CPU ms a command"], rows)}
ingest / bare calls: rate {spread(rate)}, CPU {spread(cpu)}. From bytes to a lane
and out of it again, alone: {spread([run["rate"] for run in groups.get("decode", [])], 0)} records
a second of CPU time.
"""


def relay(runs: Sequence[Run]) -> str:
    """The relay beside the bare producer."""
    groups = by(runs, "variant")
    rows = [
        [
            name,
            spread([run["rate"] for run in groups[key]], 0),
            spread([run["cpu"] / run["events"] * 1e6 for run in groups[key]], 0),
        ]
        for key, name in (("relay", "relay"), ("bare", "bare producer"))
        if key in groups
    ]
    rate = ratios([run for run in runs if "rate" in run], "relay", "bare", "rate")
    times = [
        f"From commit to {name}: p50 {groups[f'commit to {name}'][-1]['p50']:.1f} ms, "
        f"p99 {groups[f'commit to {name}'][-1]['p99']:.1f} ms at 50 events/s."
        for name in ("topic", "consumer")
        if f"commit to {name}" in groups
    ]
    return f"""## Relay alone

A backlog of 1 KB events to four partitions with acks=all, against the bare idempotent producer that
sends the same bytes.

{table(["", "events/s", "CPU µs an event"], rows)}
relay / bare producer: {spread(rate)}. {" ".join(times)}
"""


def rest(runs: Sequence[Run]) -> str:
    """The API beside a bare endpoint, by what was measured."""
    several = len({machine_of(run) for run in runs}) > 1
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[f"{run['what']}, on {machine_of(run)}" if several else run["what"]].append(run)
    rows = [
        [
            what,
            len(group),
            REQUESTS[name],
            *(spread([run[name][p] for run in group], 1) for p in ("p50", "p99", "worst")),
        ]
        for what, group in groups.items()
        for name in REQUESTS
    ]
    heads = ["", "runs", "", "p50 ms", "p99 ms", "worst ms"]
    used = [[what, *(_cores(group, name) for name in REST_PARTS)] for what, group in groups.items()]
    ends = [
        f"{what}: of {run['orders']['accepted']} accepted starts {run['orders']['ended']} orders "
        f"had ended {run['orders']['seconds']} s after the load."
        for what, group in groups.items()
        for run in group
        if run["drain"]
    ]
    rates = sorted({run["rate"] for run in runs})
    return f"""## REST under load

{" and ".join(map(str, rates))} starts/s for 30 s, 50 `GET status`/s and as many of an endpoint that
does nothing behind the same web server; servers, workers and the client share the machine. Counted
from the moment a request was due; `client` is how late it was sent.

{table(heads, rows)}
Cores in use meanwhile (`bench` is the client, `others` whoever else was on the machine):

{table(["", *REST_PARTS], used)}
{" ".join(ends)}
"""


def _cores(runs: Sequence[Run], name: str) -> str:
    if name == "others":
        return spread([run["usage"]["others"] for run in runs])
    used = [run["usage"] for run in runs if name in run["usage"]["cpu"]]
    return spread([usage["cpu"][name] / usage["seconds"] for usage in used])


def profile(runs: Sequence[Run]) -> str:
    """Where the time goes."""
    text = ["## Where the time goes\n"]
    for run in by(runs, "role").values():
        last = run[-1]
        used, count = last["threads"], last["orders"]
        rows = [
            [name, f"{part:.0%}", f"{used['main'] * part / count * 1000:.1f}"]
            for name, part in list(last["things"].items())[:6]
        ]
        text.append(
            f"**{last['role']}** ([flame graph]({last['role']}.svg)): "
            f"{used['main'] / count * 1000:.1f} ms of Python an order, "
            f"{used['others'] / count * 1000:.1f} ms in threads outside of Python. "
            "What Python spends its time on, the dearest first:\n\n"
            + table(["", "of Python", "ms an order"], rows)
        )
    return "\n".join(text)
