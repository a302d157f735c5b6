"""Runs a migration's SQL as it stands in its file."""

from pathlib import Path
from typing import Any

from alembic import op


def run_file_beside(module_file: str) -> None:
    """Run the .sql file with the same name, inside the migration's transaction.

    The driver's own ``execute`` takes a whole script; SQLAlchemy's would prepare it, and
    PostgreSQL prepares only single statements.
    """
    script = Path(module_file).with_suffix(".sql").read_text(encoding="utf-8")
    bind = op.get_bind()
    bind.exec_driver_sql("select 1")  # opens the transaction on the driver's side
    driver: Any = bind.connection.dbapi_connection
    driver.run_async(lambda connection: connection.execute(script))
