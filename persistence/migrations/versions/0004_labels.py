"""A label carries the order's address."""

from persistence.migrations.sql import run_file_beside

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0004_labels.sql."""
    run_file_beside(__file__)
