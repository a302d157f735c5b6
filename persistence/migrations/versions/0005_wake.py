"""The relay is woken after the commit."""

from persistence.migrations.sql import run_file_beside

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0005_wake.sql."""
    run_file_beside(__file__)
