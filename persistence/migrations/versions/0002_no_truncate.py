"""Orders and payments cannot be truncated."""

from persistence.migrations.sql import run_file_beside

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0002_no_truncate.sql."""
    run_file_beside(__file__)
