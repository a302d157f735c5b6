"""How a workflow takes a step: first as a local activity, then, if need be, as a regular one."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from domain.errors import Rejected, Unavailable
    from orchestration import timing

P = TypeVar("P")
R = TypeVar("R")

_ONCE: Final = RetryPolicy(maximum_attempts=1)
_AGAIN: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=2)
)
"""For crashes and for PostgreSQL; a partner is asked again inside the activity."""

_SUMMARY: Final = 90
"""Characters; Temporal's limit is 400 bytes, though it does not hold to it in every version."""


class Refused(Rejected):
    """A step was refused for good; ``kind`` is the class name of the error behind it."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Interrupted(Exception):
    """A step was given up because something else was asked for."""


def never() -> bool:
    """Nothing interrupts this step."""
    return False


class Steps:
    """Takes steps one after the other and knows how the running one is getting on."""

    def __init__(self) -> None:
        self.running: str | None = None
        self.attempts = 0
        self.last_error: str | None = None

    async def take(
        self,
        activity: Callable[[Any, P], Awaitable[R]],
        given: P,
        *,
        until: datetime | None = None,
        unless: Callable[[], bool] = never,
    ) -> R:
        """Run one activity to its end and return its result.

        Without ``until`` it is tried as long as the workflow lives. Raises ``Refused`` when it
        can never work, ``Unavailable`` when the time is up, ``Interrupted`` as soon as
        ``unless`` turns true (the activity may still be under way then).
        """
        self.begin(activity.__name__)
        if unless():
            raise Interrupted
        try:
            return await workflow.execute_local_activity_method(
                activity,
                given,
                schedule_to_close_timeout=_left(until, timing.LOCAL_TIMEOUT),
                retry_policy=_ONCE,
                summary=self.running,
            )
        except FailureError as error:
            self._failed(error)
        return await self._go_on(activity, given, until, unless)

    async def _go_on(
        self,
        activity: Callable[[Any, P], Awaitable[R]],
        given: P,
        until: datetime | None,
        unless: Callable[[], bool],
    ) -> R:
        handle = workflow.start_activity_method(
            activity,
            given,
            schedule_to_close_timeout=_left(until, None),
            start_to_close_timeout=_left(until, timing.LONGEST_ACTIVITY),
            heartbeat_timeout=timing.HEARTBEAT_TIMEOUT,
            retry_policy=_AGAIN,
            summary=f"{self.running}, after: {self.last_error}"[:_SUMMARY],
        )
        await workflow.wait_condition(lambda: handle.done() or unless())
        if not handle.done():
            handle.add_done_callback(_heard)
            handle.cancel()
            raise Interrupted
        try:
            return await handle
        except FailureError as error:
            self._failed(error)
            raise Unavailable(f"{self.running}: {self.last_error}") from error

    def progress(self) -> dict[str, Any]:
        """Return step, attempts and last error, as ``contract.Status`` has them."""
        return {"step": self.running, "attempts": self.attempts, "last_error": self.last_error}

    def begin(self, name: str, details: str | None = None) -> None:
        """Tell which step runs now, in the status query and in Temporal's UI."""
        self.running, self.attempts, self.last_error = name, 0, None
        workflow.set_current_details(details or name)

    def _failed(self, error: FailureError) -> None:
        """Note what went wrong; raise ``Refused`` when trying again is in vain."""
        if is_cancelled_exception(error):
            raise error
        # A regular activity's error is wrapped, a local one's comes as it is.
        cause = error.cause if isinstance(error, ActivityError) else error
        if not isinstance(cause, ApplicationError):  # cut off: what it failed by before says more
            before = cause.__cause__ if cause else None
            known = before.message if isinstance(before, ApplicationError) else self.last_error
            self.last_error = known or str(cause or error)
            return
        if cause.non_retryable:
            raise Refused(cause.type or "Rejected", cause.message) from error
        self.attempts += int(cause.details[0]) if cause.details else 1
        self.last_error = cause.message
        workflow.set_current_details(f"{self.running}: {self.attempts} attempts, {cause.message}")


def _heard(handle: workflow.ActivityHandle[Any]) -> None:
    """Take note of how a given-up activity ends, or asyncio reports an error nobody fetched."""
    if not handle.cancelled():
        handle.exception()


def _left(until: datetime | None, most: timedelta | None) -> timedelta | None:
    """Return the time until ``until``, at most ``most``; raise ``Unavailable`` when it is over."""
    if until is None:
        return most
    left = until - workflow.now()
    if left <= timedelta(0):
        raise Unavailable("the time is up")
    return min(left, most) if most else left
