"""The driver's own book: what was sent, and what Kafka or the API acknowledged."""

from dataclasses import dataclass, field
from typing import Literal

Via = Literal["kafka", "rest"]
Kind = Literal["start", "cancel", "update-address", "approve", "reject", "poison"]
Expected = Literal["shipped", "unshipped", "any"]


@dataclass(frozen=True, slots=True)
class Message:
    """One command as it is sent; ``command_id`` ``None``: its place on the topic is its id.

    A ``poison`` message is no command; its value is unlike that of any other message.
    """

    kind: Kind
    order_id: str
    command_id: str | None
    value: bytes
    key: bytes | None
    via: Via = "kafka"


@dataclass(frozen=True, slots=True)
class Story:
    """One order's messages, each with the pause (seconds) before it.

    ``expected`` ``shipped``: nothing but trouble can keep this order from being shipped;
    ``unshipped``: nothing at all may get it shipped.
    """

    name: str
    order_id: str
    steps: tuple[tuple[float, Message], ...]
    expected: Expected = "any"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A message that must have an outcome: Kafka's place for it, or the API's command id."""

    message: Message
    at: float
    partition: int | None = None
    offset: int | None = None
    command_id: str | None = None


@dataclass(slots=True)
class Ledger:
    """What the driver knows at the end.

    ``unclear``: sent, never acknowledged, may stand or not. ``turned_away``: good commands that
    the API said were not. ``held_seconds``: how long it began no story because too much was in
    motion.
    """

    stories: list[Story] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    unclear: list[tuple[Message, str]] = field(default_factory=list)
    turned_away: list[tuple[Message, str]] = field(default_factory=list)
    held_seconds: float = 0.0

    def due(self) -> set[tuple[str, str]]:
        """Return the commands that must have an outcome, each once however often it was sent."""
        return {
            (
                ack.message.order_id,
                ack.message.command_id or f"{ack.partition}-{ack.offset}",
            )
            for ack in self.acknowledged
            if ack.message.kind != "poison"
        }
