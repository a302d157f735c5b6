"""A label is for no shipment before one that has its label already."""

from persistence.migrations.sql import run_file_beside

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0006_newest_label.sql."""
    run_file_beside(__file__)
