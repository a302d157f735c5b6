"""Turns what the driver raises into the errors of the domain, whose tree is the retry policy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from domain.errors import AlreadyStarted, MoveNotAllowed, Rejected, Unavailable
from domain.states import State

_TRANSIENT: Final = ("08", "25006", "28", "3D000", "40", "53", "55", "57", "58", "XX")
"""Beginnings of SQLSTATEs after which the same call may work: connection, read-only (a standby
that is to take over), login, no such database, rollback, resources, lock or statement timeout,
operator intervention, system and internal error (PostgreSQL manual, appendix A)."""


@contextmanager
def database_errors(order_id: str = "") -> Iterator[None]:
    """Raise ``Unavailable`` for trouble that passes, and the refusals of the write function
    as ``MoveNotAllowed``, ``AlreadyStarted`` or ``Rejected``; all else goes through as it is.
    """
    try:
        yield
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        # InternalClientError: a process that was frozen finds its connection ended in the middle
        # of a statement, and the driver's protocol in a state from which it cannot go on.
        why = str(error) or type(error).__name__
        raise Unavailable(f"PostgreSQL does not answer: {why}") from error
    except asyncpg.PostgresError as error:
        raise _translated(error, order_id) from error


def _translated(error: asyncpg.PostgresError, order_id: str) -> Exception:
    code = error.sqlstate or ""
    if code.startswith(_TRANSIENT) or isinstance(error, asyncpg.PostgresConnectionError):
        return Unavailable(f"PostgreSQL cannot just now: {error}")
    fields = error.as_dict()
    if code == "OL001":
        now, then = fields.get("detail") or None, fields["hint"]
        return MoveNotAllowed(
            order_id, State(now) if now else None, State(then) if then in set(State) else then
        )
    if code == "OL002":
        return AlreadyStarted(str(error))
    if code[:2] in ("OL", "23"):
        return Rejected(str(error))
    return error
