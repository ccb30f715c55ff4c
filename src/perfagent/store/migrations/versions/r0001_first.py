"""The journal of rollouts, the history of snapshots, the registered services."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Begin with an empty database."""
    op.create_table(
        "rollout_events",
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("rollout_id", sa.String, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("rollout_id", "seq", name="one_event_per_seq"),
    )
    op.create_table(
        "snapshots",
        sa.Column("target", sa.String, primary_key=True),
        sa.Column("at_s", sa.Double, primary_key=True),
        sa.Column("codec", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("snapshots_by_age", "snapshots", ["at_s"])
    op.create_table(
        "services",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("codec", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
