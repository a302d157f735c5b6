import asyncpg
import pytest

from domain.errors import Unavailable
from persistence.errors import database_errors


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset"),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        # What a relay met that had been frozen for nine seconds and whose session had been ended.
        asyncpg.InternalClientError(
            "cannot switch to state 12; another operation (2) is in progress"
        ),
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    ],
)
def test_a_lost_connection_is_trouble_that_passes(error: Exception) -> None:
    with pytest.raises(Unavailable), database_errors():
        raise error
