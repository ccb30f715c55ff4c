"""Which of several agents acts."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Begin with one row that nobody holds."""
    lease = op.create_table(
        "lease",
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("expires_s", sa.Double, nullable=False),
    )
    op.bulk_insert(lease, [{"holder": "", "token": 0, "expires_s": 0.0}])
