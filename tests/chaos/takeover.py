"""Do the orders of a worker that dies go on elsewhere, and how soon?

Whether they end in time says little about it: most would make 15 s with ten of them lost. So the
longest wait for the next event is looked at, of the orders under way when a worker is killed.
The orders under way at no such moment are the control: how long one waits for a step at all, with
these partners on this machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from tests.chaos.checks import TERMINAL, Command, Violation, commands_of
from tests.chaos.evidence import EventRow, Evidence
from tests.chaos.punctuality import befell, times

TAKEOVER: Final = timedelta(seconds=7)
"""More than an order may lose: 3 s until a dead worker's task is given out anew, 2 s until its
activity is, 1 s until another worker than the last may have it."""

USUAL: Final = 0.95
"""Of the control, the share that waits no longer than what counts as usual."""

TOLERATED: Final = 0.05
"""Share of the orders under way at a death that may wait longer, one at least: two workers may
die one after the other under the same order."""


@dataclass(slots=True)
class Waits:
    """The longest wait of each order: of those under way when a worker died, and of the others."""

    touched: dict[str, timedelta] = field(default_factory=dict)
    control: dict[str, timedelta] = field(default_factory=dict)

    @property
    def limit(self) -> timedelta:
        """Return the longest wait that a death explains."""
        usual = sorted(self.control.values())
        return TAKEOVER + (usual[int(USUAL * len(usual))] if usual else timedelta(0))

    @property
    def too_long(self) -> list[str]:
        """Return the orders that waited longer, the longest first."""
        waits = sorted(self.touched.items(), key=lambda item: item[1], reverse=True)
        return [order_id for order_id, wait in waits if wait > self.limit]


def goes_on(evidence: Evidence) -> Iterator[Violation]:
    """Orders go on within seconds when the worker that drives them dies."""
    waits = longest_waits(evidence)
    late = waits.too_long
    if len(late) > max(1, int(TOLERATED * len(waits.touched))):
        longest = ", ".join(f"{o} {waits.touched[o].total_seconds():.1f} s" for o in late[:5])
        text = (
            f"of {len(waits.touched)} orders under way when a worker died {len(late)} waited more "
            f"than {waits.limit.total_seconds():.1f} s for their next event: {longest}"
        )
        yield Violation("goes on", "workers", text)


def longest_waits(evidence: Evidence) -> Waits:
    """Measure all ended orders that no outage touched."""
    deaths = [fault.begin for fault in evidence.faults if fault.kind == "kill worker"]
    commands, _ = commands_of(evidence)
    waits = Waits()
    for order_id, events in evidence.events.items():
        span = times(events)
        if span is None or befell(evidence, *span) == "outage":
            continue
        died = [death for death in deaths if span[0] <= death <= span[1]]
        after = min(died, default=span[0])
        longest = max(
            (end - begin for begin, end in _waits(events, commands) if end > after),
            default=timedelta(0),
        )
        (waits.touched if died else waits.control)[order_id] = longest
    return waits


def _waits(
    events: list[EventRow], commands: dict[str, Command]
) -> Iterator[tuple[datetime, datetime]]:
    """Yield from when to when the order waited for each next event of its life.

    For an event that is the answer to a command it waits from when the command came; where a
    person is asked, it waits for nothing else.
    """
    before: EventRow | None = None
    for event in events:
        if before is not None and before.type not in TERMINAL:
            command = commands.get(f"{event.order_id}/{event.command_id}")
            if command is not None:
                yield max(before.at, command.at), event.at
            elif before.type != "order.review_requested":
                yield before.at, event.at
        before = event
