"""The commands an order takes while it is driven, and the answers to those it does not."""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from domain.commands import CancelOrder, StartOrder, UpdateAddress
    from domain.events import AddressUpdated, CommandRejected
    from domain.model import as_text
    from domain.states import TERMINAL, State
    from orchestration.activities.base import Activities
    from orchestration.activities.order import CommandOfOrder, OrderActivities, StateAsked
    from orchestration.contract import (
        ALREADY_STARTED,
        COMMAND_SIGNAL,
        CommandMessage,
        OrderPolicy,
    )
    from orchestration.workflows.order_shipping import OrderShipping
    from orchestration.workflows.steps import Refused, Steps

COMMANDS_REMEMBERED: Final = 1000
"""By id; the unique index on (order_id, command_id) stands behind for those forgotten."""

FORGETS_REFUSED: Final = "forget-refused"
ASKS_WHAT_WAS_REFUSED: Final = "ask-what-was-refused"
"""Patches, 2026-11-25: see docs/workflows.md for when they may go."""


class OrderCommands(OrderShipping):
    """Takes commands one at a time, in order of arrival; each gets exactly one outcome.

    A cancel and a reviewer's decision are left for the story to carry out: its event is their
    outcome, or ``_answer_the_rest`` refuses them.
    """

    def __init__(self, policy: OrderPolicy) -> None:
        super().__init__(policy)
        self._early: list[tuple[datetime, CommandMessage]] = []
        self._seen: OrderedDict[str | None, None] = OrderedDict()
        self._replies = Steps()

    @workflow.signal(name=COMMAND_SIGNAL)
    async def command(self, message: CommandMessage) -> None:
        """Take a command, each id once."""
        async with self._in_turn:
            if message.command.command_id in self._seen:
                return
            self._seen[message.command.command_id] = None
            if len(self._seen) > COMMANDS_REMEMBERED:
                self._seen.popitem(last=False)
            await self._take(message)

    async def _take(self, message: CommandMessage) -> None:
        if isinstance(message.command, StartOrder):
            await self._take_start(message, message.command)
        elif self._start is None:
            await self._take_early(message)
        else:
            await self._obey(message)

    async def _take_start(self, message: CommandMessage, start: StartOrder) -> None:
        if self._start is not None:
            await self._refuse(message, ALREADY_STARTED)
            return
        await self._forget_refused()
        self._start, self._traceparent = start, message.traceparent
        self._start_message = message
        while self._early:
            await self._obey(self._early.pop(0)[1])

    async def _take_early(self, message: CommandMessage) -> None:
        """Keep a command that overtook its start, unless the order had its life long ago.

        Heard anew, since the task in which it took effect was lost, it is kept for its start.
        """
        given = StateAsked(**self._order(), command_id=message.command.command_id)
        standing = await self._replies.take(OrderActivities.find_state, given)
        if standing is not None:
            await self._refuse(message, f"too late: the order is {standing}")
            return
        ttl = timedelta(seconds=self._policy.early_command_ttl_seconds)
        self._early.append((workflow.now() + ttl, message))

    async def _forget_refused(self) -> None:
        """Drop early commands that were refused in a task that was lost, or in an earlier run.

        One that expires meanwhile is refused by ``_let_one_expire``.
        """
        if not self._early or not workflow.patched(FORGETS_REFUSED):
            return
        for entry in list(self._early):
            if await self._was_refused(entry[1]) and entry in self._early:
                self._early.remove(entry)

    async def _was_refused(self, message: CommandMessage) -> bool:
        command = CommandOfOrder(**self._order(), command_id=message.command.command_id or "")
        return await self._replies.take(OrderActivities.was_refused, command)

    async def _wait_for_start(self) -> None:
        """Let commands that came early wait for their start, each for its time.

        A run that sees no start ends failed, so that the id can be used again.
        """
        if not self._heard():
            ttl = timedelta(seconds=self._policy.early_command_ttl_seconds)
            await self._wait(self._heard, workflow.now() + ttl)
        while self._start is None:
            if self._early:
                await self._let_one_expire()
            else:
                await workflow.wait_condition(self._started_or_idle)
                if self._start is None and not self._early:
                    raise self._no_start()

    def _no_start(self) -> ApplicationError:
        text = f"no start of order {self._order_id} has come"
        return ApplicationError(text, type="UnknownOrder", non_retryable=True)

    async def _let_one_expire(self) -> None:
        entry = expires, message = self._early[0]
        if not await self._wait(lambda: self._start is not None, expires):
            if entry not in self._early:  # forgotten by a start that has come just now
                return
            self._early.remove(entry)
            ttl = self._policy.early_command_ttl_seconds
            await self._refuse(message, f"unknown order: no start has come within {ttl} s")

    def _heard(self) -> bool:
        return bool(self._start or self._seen)

    def _started_or_idle(self) -> bool:
        return self._start is not None or workflow.all_handlers_finished()

    async def _obey(self, message: CommandMessage) -> None:
        """Take a command of the order, unless it was refused before: in an earlier run, after
        which it was delivered late all the same, or in a task that was lost.
        """
        await workflow.wait_condition(lambda: bool(self._state or self._ending))
        if workflow.patched(ASKS_WHAT_WAS_REFUSED) and await self._was_refused(message):
            return
        command = message.command
        if late := self._too_late():
            await self._refuse(message, late)
        elif isinstance(command, CancelOrder):
            await self._take_cancel(message)
        elif isinstance(command, UpdateAddress):
            await self._take_address(message, command)
        elif self._review_over:
            await self._refuse(message, f"no decision is asked for: {self._where()}")
        elif self._decision is not None:
            await self._refuse(message, "another reviewer has decided already")
        else:
            self._decision = message

    async def _review_is_over(self) -> None:
        """Refuse a decision that nobody asks for, and all that follow."""
        self._review_over = True
        if self._decision is not None:
            message, self._decision = self._decision, None
            await self._refuse(message, f"no decision is asked for: {self._where()}")

    async def _take_cancel(self, message: CommandMessage) -> None:
        if self._cancel_asked is not None:
            await self._refuse(message, "a cancel is being carried out already")
            return
        self._cancel_asked = message
        await self._stop_shipping()

    async def _take_address(self, message: CommandMessage, command: UpdateAddress) -> None:
        """Take another address; a running shipment is stopped for it, and a new one follows."""
        if self._cancel_asked is not None:
            await self._refuse(message, "too late: the order is being cancelled")
            return
        await self._stop_shipping()
        if late := self._too_late():
            await self._refuse(message, late)
            return
        data = AddressUpdated(address=command.new_address, updated_by=command.updated_by)
        try:
            await self._answer(message, data)
        except Refused:  # dispatched in a task that was lost
            await self._refuse(message, "too late: the carrier has the parcel")
        else:
            self._address = command.new_address

    async def _refuse_to_open(self, reason: str) -> None:
        """Answer the start of an order id that has had its life.

        Or one whose command id has had its outcome before there was an order: the run ends as one
        that sees no start.
        """
        standing = await self._steps.take(OrderActivities.find_state, StateAsked(**self._order()))
        self._ending = f"too late: the order is {standing}" if standing else "unknown order"
        await self._refuse(self._start_message, f"{reason}; it is {standing}")
        if standing is None:
            await self._answer_the_rest()
            raise self._no_start()

    async def _answer_the_rest(self) -> None:
        """Leave no command without an outcome: neither a cancel nor a decision that lost a race."""
        for message in (self._cancel_asked, self._decision):
            if message is not None:
                await self._refuse(message, self._too_late() or self._where())
        await workflow.wait_condition(workflow.all_handlers_finished)

    async def _refuse(self, message: CommandMessage, reason: str) -> None:
        rejected = CommandRejected(command_type=message.command.type, reason=as_text(reason))
        await self._answer(message, rejected)

    async def _answer(
        self, message: CommandMessage, data: AddressUpdated | CommandRejected
    ) -> None:
        event = self._event(f"command:{message.command.command_id}", data, message)
        await self._replies.take(Activities.record, event)

    def _too_late(self) -> str | None:
        if self._state in TERMINAL or self._state is State.DISPATCHED:
            return f"too late: {self._where()}"
        return self._ending

    def _where(self) -> str:
        return f"the order is {self._state}"
