"""What was learned of step times."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Begin with nothing learned."""
    op.create_table(
        "step_times",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("codec", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
