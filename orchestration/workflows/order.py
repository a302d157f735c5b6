"""OrderWorkflow: an order from its start command to its end."""

from datetime import datetime, timedelta
from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.commands import ApproveOrder
    from domain.errors import Unavailable
    from domain.events import Approved, ReviewRequested
    from domain.model import total
    from domain.money import in_units
    from domain.states import TERMINAL, State
    from orchestration.activities.base import OrderInput
    from orchestration.activities.order import (
        Bill,
        OpenOrder,
        OrderActivities,
        ValidateOrder,
        payment_id,
    )
    from orchestration.contract import (
        ORDER_WORKFLOW,
        STATUS_QUERY,
        CommandMessage,
        OrderPolicy,
        Status,
    )
    from orchestration.gateways.sales import Basket
    from orchestration.workflows.order_commands import OrderCommands
    from orchestration.workflows.order_endings import OrderEndings
    from orchestration.workflows.steps import Interrupted, Refused


KEEPS_REVIEW: Final = "keep-a-review-that-was-asked-for"
ENDS_REVIEW: Final = "end-a-review-that-ran-out-unseen"
HEARS_FIRST: Final = "hear-who-spoke-before-a-review-ran-out"
"""Patches, 2026-11-28: see docs/workflows.md for when they may go."""


@workflow.defn(name=ORDER_WORKFLOW)
class OrderWorkflow(OrderCommands, OrderEndings):
    """Drives one order; see ``_drive`` for its story."""

    @workflow.init
    def __init__(self, policy: OrderPolicy) -> None:
        super().__init__(policy)

    @workflow.run
    async def run(self, policy: OrderPolicy) -> State | None:  # noqa: ARG002 - read in init
        """Drive the order and answer every command; returns the state it ended in."""
        await self._wait_for_start()
        if await self._open():
            await self._drive()
        if self._tracking_number:
            await self._confirm(self._tracking_number)
        if self._owes:
            await self._settle()
        await self._answer_the_rest()
        return self._state

    async def _drive(self) -> None:
        try:
            await self._receive()
            await self._validate()
            await self._review()
            await self._charge()
            await self._ship()
        except Interrupted:
            await self._cancel()
        except Refused as no:
            await self._reject(no)
        except Unavailable as trouble:
            if await self._finds_review():
                await self._drive()
            else:
                await self._fail(str(trouble))

    async def _open(self) -> bool:
        """Apply the start; tell whether there is an order to be driven to its end."""
        assert self._start is not None  # noqa: S101
        while True:
            deadline = workflow.now() + timedelta(seconds=self._policy.timeout_seconds)
            order = OpenOrder(
                **self._order(),
                command_id=self._start.command_id or "",
                address=self._start.initial_address,
                deadline=deadline,
            )
            try:
                opened = await self._steps.take(OrderActivities.open, order, until=deadline)
            except Unavailable:
                continue  # not applied, so the clock has not started
            except Refused as no:
                await self._refuse_to_open(str(no))
                return False
            break
        self._deadline, self._state, self._owes = opened.deadline, opened.state, opened.owes
        self._shipment_id, self._tracking_number = opened.shipment_id, opened.tracking_number
        self._address = self._start.initial_address
        self._keep_review(opened.decide_by)
        return not self._tracking_number and self._state not in TERMINAL

    async def _finds_review(self) -> bool:
        """Ask, when the time is up before a review, whether a lost task had asked for one.

        Before anything else is done: the reviewer's decision may be among what is heard now.
        """
        may_be = self._policy.review != "auto" and self._policy.review_timeout_seconds > 0
        known = self._decide_by is not None or self._review_over or self._cancel_asked is not None
        if known or not may_be or not workflow.patched(KEEPS_REVIEW):
            return False
        order = OrderInput(**self._order())
        self._keep_review(await self._steps.take(OrderActivities.find_review, order))
        return self._decide_by is not None

    def _keep_review(self, decide_by: datetime | None) -> None:
        """Go on with a review that a lost task had asked for: the clock has stood still since.

        Also when its time is over by now, for it is by the review that the order ends then.
        """
        waits = timedelta(seconds=self._policy.review_timeout_seconds)
        if decide_by is None or not waits:
            return
        if workflow.now() < decide_by or workflow.patched(ENDS_REVIEW):
            stood_still = workflow.now() - (decide_by - waits)
            self._deadline += stood_still - self._stood_still
            self._decide_by, self._stood_still = decide_by, stood_still

    async def _receive(self) -> None:
        """Learn what was ordered, from the start or from sales."""
        start = self._start
        if start and start.items and start.currency:
            self._basket = Basket(items=start.items, currency=start.currency)
        else:
            self._basket = await self._work(OrderActivities.receive, OrderInput(**self._order()))

    async def _validate(self) -> None:
        order = ValidateOrder(**self._order(), basket=self._basket, address=self._address)
        await self._work(OrderActivities.validate, order)
        self._state = State.VALIDATED

    async def _review(self) -> None:
        """Ask a person where the policy says so; the order's clock stands still meanwhile."""
        asks = self._reason_for_review()
        if asks is None:
            await self._review_is_over()
            return
        waits = timedelta(seconds=self._policy.review_timeout_seconds)
        fresh = workflow.now() + waits if waits else self._work_until()
        decide_by = await self._request_review(asks, self._decide_by or fresh)
        self._state = State.IN_REVIEW
        self._steps.begin("review", f"review: a person is asked until {decide_by:%H:%M:%S} UTC")
        if not await self._wait(self._review_answered, decide_by):
            await self._hear_first()
        if self._cancel_asked:
            raise Interrupted
        stood_still = workflow.now() - (decide_by - waits) if waits else timedelta(0)
        await self._decide(self._decision, stood_still - self._stood_still)

    def _review_answered(self) -> bool:
        return bool(self._decision or self._cancel_asked)

    async def _hear_first(self) -> None:
        """When a review's time is up, have the commands looked at that are being taken.

        After a time without workers one task brings the commands of that time and its end.
        """
        if not workflow.all_handlers_finished() and workflow.patched(HEARS_FIRST):
            await workflow.wait_condition(
                lambda: self._review_answered() or workflow.all_handlers_finished()
            )

    async def _request_review(self, reason: str, decide_by: datetime) -> datetime:
        """Ask a person; returns until when, as it was first written."""
        requested = ReviewRequested(
            reason=reason,
            amount=total(self._basket.items),
            currency=self._basket.currency,
            decide_by=decide_by,
        )
        if not workflow.patched(KEEPS_REVIEW):
            await self._write("review-requested", requested)
            return decide_by
        event = self._event("review-requested", requested)
        written = await self._steps.take(OrderActivities.request_review, event)
        self._keep_review(written)
        return written or decide_by

    async def _decide(self, decision: CommandMessage | None, stood_still: timedelta) -> None:
        if decision is None:
            raise Refused("Declined", "review timed out")
        command = decision.command
        if not isinstance(command, ApproveOrder):
            raise Refused("Declined", getattr(command, "reason", None) or "rejected in review")
        approved = Approved(
            reviewed_by=command.reviewed_by,
            reason=command.reason,
            deadline=self._deadline + stood_still,
        )
        event = self._event("approved", approved, decision)
        self._deadline = await self._steps.take(OrderActivities.approve, event)
        self._state, self._decision, self._review_over = State.APPROVED, None, True

    def _reason_for_review(self) -> str | None:
        amount, policy = total(self._basket.items), self._policy
        if policy.review == "manual":
            return "every order is reviewed"
        if policy.review == "above" and amount > policy.review_above:
            currency = self._basket.currency
            most = in_units(policy.review_above, currency)
            return f"{in_units(amount, currency)} {currency} is above {most}"
        return None

    async def _charge(self) -> None:
        bill = Bill(
            **self._order(),
            payment_id=payment_id(self._order_id),
            amount=total(self._basket.items),
            currency=self._basket.currency,
        )
        await self._work(OrderActivities.charge, bill)
        self._state = State.CHARGED

    @workflow.query(name=STATUS_QUERY)
    def status(self) -> Status:
        """Return where the order is and how the running step is getting on."""
        return Status(
            **self._steps.progress(),
            state=self._state,
            deadline=getattr(self, "_deadline", None),
            shipping=self._child.id if self._child else None,
        )
