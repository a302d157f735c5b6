"""Does what waits for a process go on elsewhere when that process dies, and how soon?

Whether orders end in time says little about it: most would make 15 s with ten of them lost, and
an order's clock knows nothing of ingest and relay. So waits are looked at:

- for a worker, the longest wait for the next event of the orders under way when it ended,
- for ingest, the wait of cancels, addresses and reviews for their outcome, of known orders,
- for a relay, the wait of events to be seen on the topic by a consumer.

What was waited before a process ended is not its end's doing and does not count. The waits that
no such end touched are the control: how long it takes at all, with these partners on this
machine. The API is not among them: there is one, its callers try again, and no order waits for
it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from tests.chaos.checks import TERMINAL, Command, Violation, commands_of
from tests.chaos.evidence import EventRow, Evidence, Fault
from tests.chaos.punctuality import befell, role_hit, times

Watched = Literal["worker", "ingest", "relay"]

TAKEOVER: Final[dict[Watched, timedelta]] = {
    "worker": timedelta(seconds=7),
    "ingest": timedelta(seconds=14),
    "relay": timedelta(seconds=7),
}
"""More than may be lost. Worker: 3 s until a dead one's task is given out anew, 2 s until its
activity is, 1 s until another worker than the last may have it. Ingest: 10 s until the group
gives a dead member up, 2 s until the others hear of it. Relay: 5 s until a frozen one's session
is ended, 1 s until another looks."""

USUAL: Final = 0.95
"""Of the control, the share that waits no longer than what counts as usual."""

TOLERATED: Final = 0.05
"""Share of what waited at an end that may wait longer, one at least: two processes may die one
after the other under the same order."""

ENDING: Final = frozenset({"workers killed", "processes killed", "processes restarted"})
"""Families of faults that end a process. At a crash point it ends at a moment nobody noted."""

FREEZING: Final = frozenset({"freeze ingest", "freeze relay"})
"""Kinds: a frozen ingest or relay is shut out as a dead one is. A frozen worker is handed work
until somebody finds out that it does nothing; there it is checked that orders are in time."""


@dataclass(slots=True)
class Waits:
    """How long each waited: ``touched`` at the end of a process, ``control`` at no such moment."""

    who: Watched
    touched: dict[str, timedelta] = field(default_factory=dict)
    control: dict[str, timedelta] = field(default_factory=dict)

    @property
    def limit(self) -> timedelta:
        """Return the longest wait that the end of a process explains."""
        usual = sorted(self.control.values())
        return TAKEOVER[self.who] + (usual[int(USUAL * len(usual))] if usual else timedelta(0))

    @property
    def too_long(self) -> list[str]:
        """Return who waited longer, the longest first."""
        waits = sorted(self.touched.items(), key=lambda item: item[1], reverse=True)
        return [name for name, wait in waits if wait > self.limit]


def goes_on(evidence: Evidence) -> Iterator[Violation]:
    """What waits for a process goes on within seconds when that process ends."""
    for waits in all_waits(evidence):
        late = waits.too_long
        if len(late) > max(1, int(TOLERATED * len(waits.touched))):
            longest = ", ".join(f"{n} {waits.touched[n].total_seconds():.1f} s" for n in late[:5])
            text = (
                f"of {len(waits.touched)} that waited when one ended {len(late)} waited more "
                f"than {waits.limit.total_seconds():.1f} s: {longest}"
            )
            yield Violation("goes on", waits.who, text)


def all_waits(evidence: Evidence) -> list[Waits]:
    """Measure all that waited for a worker, for ingest and for a relay, and for no outage."""
    commands, _ = commands_of(evidence)
    return [
        _for_workers(evidence, commands),
        _for_ingest(evidence, commands),
        _for_relays(evidence),
    ]


def _for_workers(evidence: Evidence, commands: dict[str, Command]) -> Waits:
    """At the moment a worker ends: orders that begin later have the other one from the start."""
    ends = [fault.begin for fault in _ends(evidence, "worker")]
    waits = Waits("worker")
    for order_id, events in evidence.events.items():
        span = times(events)
        if span is None or befell(evidence, *span) == "outage":
            continue
        died = [end for end in ends if span[0] <= end <= span[1]]
        after = min(died, default=span[0])
        longest = max(
            (end - max(begin, after) for begin, end in _waits(events, commands) if end > after),
            default=timedelta(0),
        )
        (waits.touched if died else waits.control)[order_id] = longest
    return waits


def _for_ingest(evidence: Evidence, commands: dict[str, Command]) -> Waits:
    """Starts are left out: they wait for room as well, for as long as there is none."""
    waits = Waits("ingest")
    for order_id, events in evidence.events.items():
        known = [event.at for event in events if event.type == "order.received"]
        for event in events:
            command = commands.get(f"{order_id}/{event.command_id}")
            if command and command.kind != "start" and known and known[0] <= command.at:
                name = f"{order_id}/{command.command_id}"
                _note(waits, evidence, name, command.at, max(command.at, event.at))
    return waits


def _for_relays(evidence: Evidence) -> Waits:
    waits = Waits("relay")
    for events in evidence.events.values():
        for event in events:
            name = f"{event.order_id}-{event.sequence}"
            if seen := evidence.seen.get(name):
                _note(waits, evidence, name, event.at, max(event.at, seen))
    return waits


def _note(waits: Waits, evidence: Evidence, name: str, begin: datetime, end: datetime) -> None:
    """Who comes while a process is gone waits for it as well, until it is back."""
    if befell(evidence, begin, end) == "outage":
        return
    ends = [f.begin for f in _ends(evidence, waits.who) if f.begin <= end and begin <= f.end]
    waited = end - max(begin, min(ends, default=begin))
    (waits.touched if ends else waits.control)[name] = waited


def _ends(evidence: Evidence, role: Watched) -> list[Fault]:
    return [
        fault
        for fault in evidence.faults
        if role_hit(fault) == role and (fault.family in ENDING or fault.kind in FREEZING)
    ]


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
