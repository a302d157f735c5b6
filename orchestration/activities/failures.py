"""Makes the error tree the retry policy of Temporal: ``Rejected`` is never retried."""

from typing import Any

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from domain.errors import OrderError, PartnerUnavailable, Rejected
from domain.model import as_text


class ErrorTree(Interceptor):
    """Turns the domain's errors into failures: class name as type, ``attempts`` as detail.

    They are part of the story, hence benign: no traceback in the log, no alarm.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """See the base class."""
        return _Translates(next)


class _Translates(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401
        """See the base class."""
        try:
            return await super().execute_activity(input)
        except OrderError as error:
            attempts = error.attempts if isinstance(error, PartnerUnavailable) else 1
            raise ApplicationError(
                as_text(str(error)),
                attempts,
                type=type(error).__name__,
                non_retryable=isinstance(error, Rejected),
                category=ApplicationErrorCategory.BENIGN,
            ) from None
