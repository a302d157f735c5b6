"""Which version of the database this code knows.

Apart from ``persistence.migrate`` because every process asks at its start, and alembic costs
more to import than all the rest of a role.
"""

from pathlib import Path
from typing import Final

import asyncpg

from domain.errors import OrderError
from persistence.errors import database_errors
from persistence.pool import Executor

SCRIPTS: Final = Path(__file__).parent / "migrations"


class WrongVersion(OrderError):
    """The database is older or newer than this code; the text says what to do."""


async def check_version(conn: Executor) -> None:
    """Raise ``WrongVersion`` unless the database has exactly the version this code knows."""
    with database_errors():
        try:
            found = await conn.fetchval("select version_num from alembic_version")
        except asyncpg.UndefinedTableError:
            found = None
    refuse_newer(found)
    newest = known_versions()[-1]
    if found != newest:
        raise WrongVersion(
            f"the database has version {found or 'none'} and this program needs {newest}: "
            "run `orders migrate`"
        )


def refuse_newer(found: str | None) -> None:
    """Raise ``WrongVersion`` for a version that this code has never heard of."""
    known = known_versions()
    if found is not None and found not in known:
        raise WrongVersion(
            f"the database has version {found}, and this program knows none above {known[-1]}: "
            "run a newer program"
        )


def known_versions() -> list[str]:
    """Return the versions there are migrations for, the newest last.

    A migration's file begins with its revision; a test compares this with what alembic finds.
    """
    files = (SCRIPTS / "versions").glob("[0-9]*_*.py")
    return sorted(file.name.partition("_")[0] for file in files)
