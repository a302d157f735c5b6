"""What the ways in need to know of the workflow: its names, its messages, its policy.

Imports no Temporal: ingest builds these and hands them to ``temporal_client.deliver``.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field

from domain.commands import Command
from domain.model import Model
from domain.states import State

ORDER_WORKFLOW: Final = "OrderWorkflow"
SHIPPING_WORKFLOW: Final = "ShippingWorkflow"
RECONCILE_WORKFLOW: Final = "ReconcileWorkflow"
COMMAND_SIGNAL: Final = "command"
"""One signal for all commands: signals of one name keep their order."""
DISPATCH_FAILED_SIGNAL: Final = "dispatch_failed"
STOP_SHIPPING_SIGNAL: Final = "stop"
STATUS_QUERY: Final = "status"
ALREADY_STARTED: Final = "the order has been started already"
"""How the reason begins for which a second start is refused; the API tells it by this."""


class OrderPolicy(Model):
    """The rules one order lives by, fixed when its workflow starts.

    ``review``: ``auto`` asks nobody, ``manual`` always asks, ``above`` asks when the amount is
    above ``review_above`` (minor units). ``review_timeout_seconds`` 0: a review counts against
    ``timeout_seconds``.
    """

    timeout_seconds: Annotated[int, Field(ge=1)] = 15
    review: Literal["auto", "manual", "above"] = "above"
    review_above: Annotated[int, Field(ge=0)] = 50_000
    review_timeout_seconds: Annotated[int, Field(ge=0)] = 3600
    early_command_ttl_seconds: Annotated[int, Field(ge=1)] = 60
    shipping_task_queue: str = "shipping-tq"


class CommandMessage(Model):
    """A command on its way to the workflow, with the W3C trace it belongs to."""

    command: Annotated[Command, Field(discriminator="type")]
    traceparent: str | None = None


class Delivery(StrEnum):
    """What became of a delivery: the workflow has the command, or it had ended before."""

    DELIVERED = "delivered"
    ENDED = "ended"


class Status(Model):
    """Answer of the ``status`` query; ``attempts`` and ``last_error`` are of the running step."""

    state: State | None = None
    step: str | None = None
    attempts: int = 0
    last_error: str | None = None
    deadline: AwareDatetime | None = None
    shipping: str | None = None
    """Id of the workflow that ships it now, which knows the running step."""


def workflow_id(order_id: str) -> str:
    """Return the id of the workflow that drives ``order_id``."""
    return f"order-{order_id}"
