"""The tools all activities work with, and how they ask a partner."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import asyncpg
from temporalio import activity

from domain.errors import Declined, PartnerUnavailable, Rejected
from domain.events import TYPE_OF, CommandRejected, EventData
from domain.model import Model, OrderId
from domain.payments import PaymentStatus
from domain.states import State
from orchestration import timing
from orchestration.gateways import Gateways
from orchestration.patience import Attempts, Pace
from persistence import write

T = TypeVar("T")

_CLASS_OF: Final = {name: data for data, name in TYPE_OF.items()}


class OrderInput(Model):
    """What every activity is told: the order, and the trace it belongs to."""

    order_id: OrderId
    traceparent: str | None = None


class Write(OrderInput):
    """One event to be written; ``event_type`` is the type of ``data``."""

    key: str
    event_type: str
    data: dict[str, Any]
    command_id: str | None = None
    payment: PaymentStatus | None = None

    @classmethod
    def of(
        cls,
        order_id: str,
        key: str,
        data: EventData,
        command_id: str | None = None,
        traceparent: str | None = None,
        payment: PaymentStatus | None = None,
    ) -> "Write":
        """Make the input from an event's data."""
        return cls(
            order_id=order_id,
            traceparent=traceparent,
            key=key,
            event_type=TYPE_OF[type(data)],
            data=data.model_dump(mode="json", exclude_none=True),
            command_id=command_id,
            payment=payment,
        )

    def event(self) -> EventData:
        """Return the event's data as its class."""
        return _CLASS_OF[self.event_type].model_validate(self.data, strict=False)


class Budget:
    """The time an activity has for its partners: ``LOCAL_BUDGET``, or what Temporal gives it."""

    def __init__(self) -> None:
        info = activity.info()
        used = (info.started_time - info.scheduled_time).total_seconds()
        given = [
            limit.total_seconds() - waited - timing.ACTIVITY_MARGIN
            for limit, waited in (
                (info.schedule_to_close_timeout, used),
                (info.start_to_close_timeout, 0.0),
            )
            if limit
        ]
        if info.is_local:
            given.append(timing.LOCAL_BUDGET)
        self._ends = time.monotonic() + min(given)

    def left(self) -> float:
        """Return the seconds left; never so few that no call can be made."""
        return max(self._ends - time.monotonic(), timing.ATTEMPT_TIMEOUT_MIN)


class Activities:
    """Base of the activity classes: holds the pool and the gateways of this worker."""

    def __init__(self, pool: asyncpg.Pool, gateways: Gateways) -> None:
        self.pool = pool
        self.gateways = gateways
        self._pace: dict[str, Pace] = defaultdict(Pace)

    @activity.defn
    async def record(self, change: Write) -> State | None:
        """Write one event; returns the state after it, or after what had been written instead.

        Raises as ``persistence.write.record``. A command whose outcome in an earlier run, or in
        a task that was lost, was a rejection keeps that one; the event it causes now is written
        without it. ``Rejected`` where that event is the answer to the command itself: then
        nothing is written, and nothing may come of it.
        """
        event = change.event()
        written = await self.write(change.key, change, event, change.command_id, change.payment)
        rejected_before = written.type == TYPE_OF[CommandRejected] != change.event_type
        if written.repeated and rejected_before:
            written = await self.write(change.key, change, event, None, change.payment)
            if written.type == TYPE_OF[CommandRejected]:
                raise Rejected("the command has been rejected before")
        return written.state

    async def write(
        self,
        key: str,
        order: OrderInput,
        data: EventData,
        command_id: str | None = None,
        payment: PaymentStatus | None = None,
    ) -> write.Recorded:
        """Write one event under its idempotency key."""
        change = write.Change(order.order_id, key, data, command_id, order.traceparent, payment)
        return await write.record(self.pool, change)

    async def ask(self, operation: str, budget: Budget, call: Callable[[], Awaitable[T]]) -> T:
        """Call a partner as often as the budget allows, telling Temporal how it goes.

        Raises ``Declined``, or ``PartnerUnavailable`` with the last error.
        """
        attempts = Attempts(call, self._pace[operation], budget.left())
        if activity.info().is_local:
            return await attempts.answer()
        async with _heartbeats(attempts):
            return await attempts.answer()

    async def insist(self, operation: str, budget: Budget, call: Callable[[], Awaitable[T]]) -> T:
        """Call a partner as ``ask`` does, for what has to be done to undo an order.

        A no is trouble here: the step is tried again, at Temporal's slower pace, until the
        partner does it.
        """
        try:
            return await self.ask(operation, budget, call)
        except Declined as no:
            raise PartnerUnavailable(f"{operation} was refused: {no}") from no


@asynccontextmanager
async def _heartbeats(attempts: Attempts[Any]) -> AsyncIterator[None]:
    """Tell of all attempts so far, those before Temporal's own retry too."""
    count, error = activity.info().heartbeat_details or (0, None)

    async def beat() -> None:
        while True:
            activity.heartbeat(count + attempts.count, attempts.last_error or error)
            await asyncio.sleep(timing.HEARTBEAT_EVERY)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
