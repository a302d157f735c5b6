"""All checks by the names they report under, and whether a run means anything."""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final

from tests.chaos import answers, checks, money, punctuality, takeover
from tests.chaos.checks import Check, Violation
from tests.chaos.evidence import DID_NOT_FIRE, Evidence

ALL: Final[dict[str, Check]] = {
    "acknowledged is on the topic": checks.acknowledged_is_on_the_topic,
    "only what was sent": checks.only_what_was_sent,
    "exactly one outcome": checks.one_outcome,
    "done as asked": answers.done_as_asked,
    "refused with need": answers.refused_with_need,
    "dead letters are verbatim": checks.dead_letters_are_verbatim,
    "one life": checks.one_life,
    "events without gap": checks.events_without_gap,
    "no step left out": checks.no_step_left_out,
    "topic is the table": checks.topic_is_the_table,
    "row is the fold": checks.row_is_the_fold,
    "workflow agrees": checks.workflow_agrees,
    "all has settled": checks.all_has_settled,
    "money": money.charged_once_and_given_back,
    "payments agree with the bank": money.payments_agree_with_the_bank,
    "parcels": money.parcels_agree_with_the_carrier,
    "in time": punctuality.in_time,
    "goes on": takeover.goes_on,
    "processes behave": checks.nothing_unexpected,
}
"""The order of the report. Each yields violations under its own name."""

COMMANDS_LEAST: Final = 100
COMMANDS_A_MINUTE_LEAST: Final = 60
FAULTS_A_MINUTE_LEAST: Final = 3
ALL_FAMILIES_MINUTES: Final = 2
"""From here on there is time for a fault of every family."""
SHIPPED_LEAST: Final = 0.25
UNCLEAR_MOST: Final = 0.1
"""Of all that was sent: what was never acknowledged is a promise to nobody."""
KINDS_OF_COMMANDS: Final = {"start", "cancel", "update-address", "approve", "reject", "poison"}
UNTOUCHED_A_MINUTE_LEAST: Final = 10
"""Orders that no outage touched: only those are held to their time."""


def judge(evidence: Evidence) -> list[Violation]:
    """Return every broken promise."""
    return [violation for check in ALL.values() for violation in check(evidence)]


def meaningless(evidence: Evidence, minutes: float, families: Collection[str]) -> Iterator[str]:
    """Yield why this run proves nothing: too little was done, or too little was broken.

    ``families`` of faults: each has to be among them.
    """
    yield from _too_little_acknowledged(evidence, minutes)
    yield from _too_little_done(evidence)
    yield from _too_little_broken(evidence, minutes, families)
    counted = punctuality.tallies(evidence)
    untouched = sum(tally.orders for what, tally in counted.items() if what != "outage")
    if untouched < minutes * UNTOUCHED_A_MINUTE_LEAST:
        yield f"only {untouched} orders were touched by no outage"
    yield from punctuality.cannot_tell(evidence)


def _too_little_acknowledged(evidence: Evidence, minutes: float) -> Iterator[str]:
    acknowledged = Counter(ack.message.via for ack in evidence.ledger.acknowledged)
    if acknowledged.total() < max(COMMANDS_LEAST, minutes * COMMANDS_A_MINUTE_LEAST):
        yield f"only {acknowledged.total()} commands were acknowledged"
    for via in ("kafka", "rest"):
        if not acknowledged[via]:
            yield f"no command was sent by {via}"
    unclear = len(evidence.ledger.unclear)
    if unclear > UNCLEAR_MOST * acknowledged.total():
        yield f"{unclear} commands were never acknowledged"
    if minutes >= ALL_FAMILIES_MINUTES:
        kinds = {ack.message.kind for ack in evidence.ledger.acknowledged}
        yield from (f"no {kind} was acknowledged" for kind in sorted(KINDS_OF_COMMANDS - kinds))


def _too_little_done(evidence: Evidence) -> Iterator[str]:
    states = Counter(order.state for order in evidence.orders.values())
    if states["shipped"] < SHIPPED_LEAST * len(evidence.orders):
        yield f"only {states['shipped']} of {len(evidence.orders)} orders were shipped"
    for state in ("cancelled", "rejected"):
        if not states[state]:
            yield f"no order ended {state}"
    if not any(entry.operation == "refund" for entry in evidence.books):
        yield "nothing was refunded"
    if not evidence.dead_letters:
        yield "nothing was dead-lettered"


def _too_little_broken(
    evidence: Evidence, minutes: float, families: Collection[str]
) -> Iterator[str]:
    fired = [fault for fault in evidence.faults if DID_NOT_FIRE not in fault.target]
    if len(fired) < max(1, minutes * FAULTS_A_MINUTE_LEAST):
        yield f"only {len(fired)} faults happened"
    if minutes >= ALL_FAMILIES_MINUTES:
        for family in sorted(set(families) - {fault.family for fault in fired}):
            yield f"no fault of the family '{family}' happened"
