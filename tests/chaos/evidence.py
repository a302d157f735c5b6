"""What is left when all has settled, as anybody could read it: topics, tables, books, results."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from tests.chaos.ledger import Ledger

Reach = Literal["process", "outage"]
DID_NOT_FIRE: Final = "(did not fire)"
"""In a fault's target: nobody came to the armed crash point."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: dict[str, str]
    at: datetime

    @property
    def place(self) -> str:
        """Return ``topic-partition-offset``: the command id of a command that has none."""
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class EventRow:
    """One row of table ``events``."""

    order_id: str
    sequence: int
    type: str
    command_id: str | None
    data: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One row of table ``orders``; ``others`` holds the columns the fold can tell as well."""

    order_id: str
    state: str
    deadline: datetime
    others: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PaymentRow:
    """One row of table ``payments``."""

    payment_id: str
    order_id: str
    status: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line in the partners' own books."""

    key: str
    operation: str
    order_id: str
    detail: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """How Temporal saw an order's newest run end: status ``COMPLETED`` and so on, and result."""

    status: str
    result: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """Trouble that was made: what, of which family, to whom, from when until it was over.

    ``target``: the process that was hit (``role-number``), or its link, or servers.
    ``process``: one process of a role was hit, the others could go on.
    ``outage``: something was hit that all depend on.
    """

    kind: str
    family: str
    target: str
    reach: Reach
    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Stall:
    """The machine, or the process that drives the run, stood still."""

    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Load:
    """What part of all cores this run used, and what part others did."""

    begin: datetime
    end: datetime
    ours: float
    others: float


@dataclass(slots=True)
class Evidence:
    """Everything the checks look at.

    ``unexpected``: what processes did that nobody asked for (ended, tracebacks in a log).
    ``forgotten``: orders whose finished runs were deleted from Temporal, as after its retention.
    ``seen``: when a consumer saw an event (``ce_id``) on the topic for the first time.
    ``lag``: per partition of the commands topic, records that the group has not committed.
    """

    ledger: Ledger = field(default_factory=Ledger)
    commands: list[Record] = field(default_factory=list)
    published: list[Record] = field(default_factory=list)
    dead_letters: list[Record] = field(default_factory=list)
    orders: dict[str, OrderRow] = field(default_factory=dict)
    events: dict[str, list[EventRow]] = field(default_factory=dict)
    payments: list[PaymentRow] = field(default_factory=list)
    books: list[Entry] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    outbox: int = 0
    set_aside: int = 0
    lag: dict[int, int] = field(default_factory=dict)
    seen: dict[str, datetime] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
