"""What the parts of the service spend their time on, told in words from a profile's stacks."""

from collections import Counter
from typing import Final

THINGS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "worker": (
        (
            "PayloadVisitor.visit",
            "Temporal's client walks a task's payloads three times each way, for codecs it has not",
        ),
        ("poll_workflow_activation", "taking workflow tasks from Temporal's core"),
        ("SimulatedPartner", "the simulated partners and their books in PostgreSQL"),
        ("orchestration/patience.py", "tries, time-outs and second attempts of partner calls"),
        ("(asyncpg/", "statements in PostgreSQL"),
        ("(pydantic/", "checking and converting payloads"),
        (
            "orchestration/workflows/",
            "the workflows' own code, with what it asks of Temporal's client",
        ),
        ("_handle_activation", "Temporal's client around the workflows' code"),
        ("_handle_start_activity_task", "Temporal's client around an activity"),
        ("_ActivityWorker", "Temporal's client around an activity"),
    ),
    "ingest": (
        ("CommandConsumer._admit", "asking PostgreSQL how many starts may be let in"),
        ("CommandHandler.handle", "handing a command to Temporal"),
        ("_commit_often", "committing offsets"),
        ("GroupCoordinator", "the group's heartbeats and commits"),
        ("Fetcher", "fetching records from Kafka"),
        ("CommandConsumer._poll", "taking, decoding and sorting records"),
        ("(aiokafka/", "the rest of Kafka's client"),
        ("(asyncpg/", "other statements in PostgreSQL"),
    ),
    "relay": (
        ("_process_notification", "being told by PostgreSQL that there is something to do"),
        ("Shard.read", "reading the outbox"),
        ("Shard.delete", "deleting what was acknowledged"),
        ("show_life", "showing that it is alive"),
        ("Presence.look", "looking for other relays"),
        ("Sender.", "sending batches to Kafka"),
        ("(aiokafka/", "the rest of Kafka's client"),
        ("Publisher.", "making batches"),
        ("(asyncpg/", "the rest of PostgreSQL's client"),
    ),
}
"""For each role what a stack is about, by the first of these that is in it."""
OTHERS: Final = "the event loop, and all else"


def things(role: str, collapsed: str) -> dict[str, float]:
    """Return the share of samples of each thing, the dearest first."""
    found: Counter[str] = Counter()
    for line in collapsed.splitlines():
        stack, _, count = line.rpartition(" ")
        found[_about(role, stack)] += int(count)
    total = found.total()
    return {name: count / total for name, count in found.most_common()}


def _about(role: str, stack: str) -> str:
    return next((words for frame, words in THINGS[role] if frame in stack), OTHERS)
