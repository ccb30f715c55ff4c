"""The first snapshot of each hour, kept longer than the rest."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Begin with none: what was kept so far is too short to be thinned."""
    op.create_table(
        "thinned_snapshots",
        sa.Column("target", sa.String, primary_key=True),
        sa.Column("period", sa.Integer, primary_key=True),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("codec", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("thinned_snapshots_by_age", "thinned_snapshots", ["at_s"])
