"""Orders, events, payments, the outbox, and the function that writes them."""

from persistence.migrations.sql import run_file_beside

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0001_orders.sql."""
    run_file_beside(__file__)
