"""The report of a run, for people."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from tests.chaos.checks import Violation
from tests.chaos.evidence import Evidence
from tests.chaos.judge import ALL
from tests.chaos.punctuality import tallies
from tests.chaos.takeover import Watched, all_waits

SHOWN = 5


def report(evidence: Evidence, violations: Sequence[Violation], doubts: Sequence[str]) -> str:
    """Return the report as text; ``doubts`` say why the run proves nothing."""
    return "\n".join(
        [
            *_did(evidence),
            *_broke(evidence),
            *_ended(evidence),
            *_judged(violations),
            *(f"MEANINGLESS: {doubt}" for doubt in doubts),
        ]
    )


def _did(evidence: Evidence) -> Iterator[str]:
    ledger = evidence.ledger
    kinds = Counter(f"{a.message.kind} ({a.message.via})" for a in ledger.acknowledged)
    yield ""
    yield (
        f"Sent: {len(ledger.stories)} stories, {len(ledger.acknowledged)} commands acknowledged, "
        f"{len(ledger.unclear)} never acknowledged; held back for {ledger.held_seconds:.0f} s"
    )
    yield f"  {_counts(kinds)}"


def _broke(evidence: Evidence) -> Iterator[str]:
    yield f"Broken: {len(evidence.faults)} faults"
    begin = evidence.faults[0].begin if evidence.faults else None
    for fault in evidence.faults:
        after = (fault.begin - begin).total_seconds() if begin else 0
        lasted = (fault.end - fault.begin).total_seconds()
        yield f"  {after:6.1f} s  {fault.kind:45} {fault.target:38} {lasted:5.1f} s"


def _ended(evidence: Evidence) -> Iterator[str]:
    states = Counter(order.state for order in evidence.orders.values())
    repeats = len(evidence.published) - len({r.headers.get("ce_id") for r in evidence.published})
    refused = sum(
        event.type == "order.command_rejected"
        for events in evidence.events.values()
        for event in events
    )
    books = Counter(entry.operation for entry in evidence.books)
    yield f"Orders: {len(evidence.orders)}: {_counts(states)}; {refused} commands refused"
    yield f"Partners' books: {_counts(books)}"
    yield (
        f"Events published: {len(evidence.published)}, {repeats} of them repeats of the same id; "
        f"dead letters: {len(evidence.dead_letters)}"
    )
    yield from _machine(evidence)
    yield "Decided in time, by the worst that was hit while the order was driven:"
    for befell, tally in tallies(evidence).items():
        yield (
            f"  {befell:8} {tally.orders:5} orders, {len(tally.late)} late, "
            f"{len(tally.lost)} failed that could have been shipped; of those that missed "
            f"{len(set(tally.missed) & set(tally.excused))} while the machine was busy elsewhere"
        )
    yield from _takeover(evidence)


_WAITED: Final[dict[Watched, str]] = {
    "worker": "orders for their next event",
    "ingest": "cancels, addresses and reviews for their outcome",
    "relay": "events to be seen on the topic",
}


def _takeover(evidence: Evidence) -> Iterator[str]:
    yield "Waited when a process ended, and at other times:"
    for waits in all_waits(evidence):
        touched, control = sorted(waits.touched.values()), sorted(waits.control.values())
        yield (
            f"  {waits.who:8} {_WAITED[waits.who]}: {_most(touched)} of {len(touched)}; "
            f"{_most(control)} of {len(control)} others; "
            f"{len(waits.too_long)} waited longer than {waits.limit.total_seconds():.1f} s"
        )


def _most(waits: Sequence[timedelta]) -> str:
    if not waits:
        return "-"
    middle, most = waits[len(waits) // 2], waits[-1]
    return f"median {middle.total_seconds():.1f} s, most {most.total_seconds():.1f} s,"


def _machine(evidence: Evidence) -> Iterator[str]:
    loads = evidence.loads
    if not loads:
        return
    ours, others = (
        sum(share) / len(loads) for share in zip(*((x.ours, x.others) for x in loads), strict=True)
    )
    stalled = sum((stall.end - stall.begin).total_seconds() for stall in evidence.stalls)
    yield (
        f"Machine: {os.cpu_count()} cores; this run had {ours:.0%} of them, others {others:.0%}; "
        f"it stood still {len(evidence.stalls)} times, {stalled:.1f} s in all"
    )


def _judged(violations: Sequence[Violation]) -> Iterator[str]:
    by_check: dict[str, list[Violation]] = defaultdict(list)
    for violation in violations:
        by_check[violation.check].append(violation)
    yield "Checks:"
    for name in ALL:
        found = by_check[name]
        yield f"  {'FAILED' if found else 'ok    '} {name}{f': {len(found)}' if found else ''}"
        for violation in found[:SHOWN]:
            yield f"         {violation.subject}: {violation.text}"
        if len(found) > SHOWN:
            yield f"         and {len(found) - SHOWN} more"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "none"
