"""The errors of the service; their tree is the retry policy.

OrderError
├── Rejected             never retried: the same input can never work
│   ├── BadCommand       a record that is no command
│   ├── Declined         a partner understood and said no
│   ├── MoveNotAllowed   the order is not in a state from which it may go there
│   └── AlreadyStarted   the order id had its one life
└── Unavailable          retried: nobody said no
    └── PartnerUnavailable
"""

from domain.states import State


class OrderError(Exception):
    """Base of all errors that this service raises on purpose."""


class Rejected(OrderError):
    """The same input can never work; do not retry."""


class BadCommand(Rejected):
    """A record that is no command; the text says which field has which value."""


class Declined(Rejected):
    """A partner understood the request and said no."""


class MoveNotAllowed(Rejected):
    """An order in ``now`` may not become ``then`` (an event type where that has no state)."""

    def __init__(self, order_id: str, now: State | None, then: State | str) -> None:
        super().__init__(f"order {order_id} is {now or 'unknown'} and may not become {then}")
        self.order_id = order_id
        self.now = now
        self.then = then


class AlreadyStarted(Rejected):
    """The order id has been started by another command."""


class Unavailable(OrderError):
    """Nobody said no: the same call may work later."""


class PartnerUnavailable(Unavailable):
    """A partner did not answer, or answered that it cannot just now, after ``attempts`` calls."""

    def __init__(self, reason: str, attempts: int = 1) -> None:
        super().__init__(reason)
        self.attempts = attempts
