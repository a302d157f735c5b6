"""The three topics of the service: made when missing, checked when there."""

from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code

from domain.errors import OrderError

DEFAULT_PARTITIONS: Final = 4
COMMAND_BYTES_MAX: Final = 1_114_112
"""``max.message.bytes`` of commands: one MiB of value, and room for key, headers and framing."""
DEAD_LETTER_BYTES_MAX: Final = 2 * 1_048_576
"""``max.message.bytes`` of dead letters: a command as it came, and what is written about it."""


class TopicsWrong(OrderError):
    """A topic is missing or does not fit the others; the text says what to do."""


async def create_topics(
    bootstrap_servers: str,
    commands: str,
    events: str,
    dead_letters: str,
    partitions: int = DEFAULT_PARTITIONS,
) -> None:
    """Create what is missing of the three topics; existing ones stay as they are.

    Dead letters get as many partitions as commands have, because a dead letter keeps the
    partition of its record. Raises ``TopicsWrong`` with the broker's reason for a topic that
    could not be made, or when the partition counts of existing topics do not fit.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        existing = await _partition_counts(admin, (commands,))
        partitions = existing.get(commands, partitions)
        await _create(
            admin,
            [
                _topic(commands, partitions, COMMAND_BYTES_MAX),
                _topic(events, partitions, COMMAND_BYTES_MAX),
                _topic(dead_letters, partitions, DEAD_LETTER_BYTES_MAX),
            ],
        )
    finally:
        await admin.close()


async def check_topics(bootstrap_servers: str, commands: str, dead_letters: str) -> None:
    """Raise ``TopicsWrong`` unless both topics exist with the same number of partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        counts = await _partition_counts(admin, (commands, dead_letters))
    finally:
        await admin.close()
    if missing := [name for name in (commands, dead_letters) if name not in counts]:
        raise TopicsWrong(f"topic {missing[0]} does not exist: run `orders topics` once")
    if counts[dead_letters] < counts[commands]:
        raise TopicsWrong(
            f"topic {dead_letters} has {counts[dead_letters]} partitions and {commands} has "
            f"{counts[commands]}: give {dead_letters} as many"
        )


def _topic(name: str, partitions: int, max_bytes: int) -> NewTopic:
    return NewTopic(name, partitions, 1, topic_configs={"max.message.bytes": str(max_bytes)})


async def _partition_counts(admin: AIOKafkaAdminClient, names: tuple[str, ...]) -> dict[str, int]:
    described = await admin.describe_topics(list(names))
    return {t["topic"]: len(t["partitions"]) for t in described if t["error_code"] == 0}


async def _create(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
    # create_topics does not raise: the broker's answer for each topic stands in topic_errors.
    answer = await admin.create_topics(topics)
    for name, code, *details in answer.topic_errors:
        error: type[KafkaError] = for_code(code)
        if error not in (NoError, TopicAlreadyExistsError):
            reason = details[0] if details and details[0] else error.description
            raise TopicsWrong(f"cannot create topic {name}: {reason}")
