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
        # Servers that are being exchanged, or whose login is.
        asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
        asyncpg.InvalidPasswordError("password authentication failed"),
        asyncpg.InvalidCatalogNameError("database does not exist"),
        asyncpg.InternalServerError("could not open relation"),
    ],
)
def test_a_lost_connection_is_trouble_that_passes(error: Exception) -> None:
    with pytest.raises(Unavailable), database_errors():
        raise error


def test_an_error_without_a_text_is_named() -> None:
    with pytest.raises(Unavailable, match="TimeoutError"), database_errors():
        raise TimeoutError
