"""What is done with one command: one Temporal call, or an answer that it came too late."""

from enum import StrEnum
from typing import Final

import asyncpg
from temporalio.client import Client

from domain.commands import StartOrder
from domain.events import CommandRejected
from domain.states import State
from ingest.outage import Outage
from orchestration.contract import ALREADY_STARTED, CommandMessage, Delivery, OrderPolicy
from orchestration.temporal_client import deliver, started_orders
from persistence.queries import get_order, outcome_of
from persistence.write import Change, Recorded, record


class Outcome(StrEnum):
    """What became of a record, as far as ingest can tell."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    DEAD_LETTERED = "dead_lettered"


class CommandHandler:
    """Hands commands to their workflows.

    Safe to call again with the same command, and to die on any line: the workflow knows a
    command by its id, and so does the write of a rejection.
    """

    def __init__(
        self,
        client: Client,
        pool: asyncpg.Pool,
        policy: OrderPolicy,
        task_queue: str,
    ) -> None:
        self.temporal: Final = Outage("Temporal")
        self.postgresql: Final = Outage("PostgreSQL")
        self._client = client
        self._pool = pool
        self._policy = policy
        self._task_queue = task_queue

    async def handle(self, message: CommandMessage) -> Outcome:
        """Deliver the command, for as long as it takes.

        Raises ``Rejected`` when Temporal or PostgreSQL will never take it.
        """
        command = message.command
        about = {"order_id": command.order_id, "command_id": command.command_id}
        delivery = await self.temporal.outlast(lambda: self._deliver(message), about=about)
        if delivery is None:
            return Outcome.DUPLICATE
        if delivery is Delivery.DELIVERED:
            return Outcome.DELIVERED
        return await self.postgresql.outlast(lambda: self._too_late(message), about=about)

    async def started(self, newest: int) -> list[str]:
        """Return up to ``newest`` orders that Temporal was told to start and that still run."""
        return await self.temporal.outlast(
            lambda: started_orders(self._client, self._task_queue, newest)
        )

    async def _deliver(self, message: CommandMessage) -> Delivery | None:
        """Try once; ``None``: the command had its outcome before.

        The workflow knows the commands of its own run only: one that came early and was rejected
        because no start came would, repeated after all, act on the order that has started since.
        """
        if not isinstance(message.command, StartOrder):
            known = await self.postgresql.outlast(lambda: self._outcome(message))
            if known:
                return None
        return await deliver(self._client, message, self._policy, self._task_queue)

    async def _outcome(self, message: CommandMessage) -> Recorded | None:
        command = message.command
        if command.command_id is None:
            raise ValueError("ingest gives every command an id")
        return await outcome_of(self._pool, command.order_id, command.command_id)

    async def _too_late(self, message: CommandMessage) -> Outcome:
        command = message.command
        if await self._outcome(message):
            return Outcome.DUPLICATE
        order = await get_order(self._pool, command.order_id)
        change = Change(
            order_id=command.order_id,
            key=f"command:{command.command_id}",
            data=CommandRejected(
                command_type=command.type,
                reason=_reason(
                    order.state if order else None, is_start=isinstance(command, StartOrder)
                ),
            ),
            command_id=command.command_id,
            traceparent=message.traceparent,
        )
        recorded = await record(self._pool, change)
        return Outcome.DUPLICATE if recorded.repeated else Outcome.REJECTED


def _reason(state: State | None, *, is_start: bool) -> str:
    if state is None:
        return "unknown order: its workflow ended without a start"
    if is_start:
        return f"{ALREADY_STARTED} and is {state}"
    return f"too late: the order is {state}"
