"""Events follow each other without gap, and orders keep their ids."""

from persistence.migrations.sql import run_file_beside

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0003_no_gap.sql."""
    run_file_beside(__file__)
