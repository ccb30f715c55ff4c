"""The tables as they are now. A change here needs a step in `migrations/versions`; a test compares the two."""

from sqlalchemy import Column, Double, Index, Integer, LargeBinary, MetaData, String, Table, Text, UniqueConstraint

METADATA = MetaData()

EVENTS = Table(
    "rollout_events",
    METADATA,
    Column("position", Integer, primary_key=True),  # rises with every event: nothing is ever deleted here
    Column("rollout_id", String, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at_s", Double, nullable=False),
    Column("kind", String, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("rollout_id", "seq", name="one_event_per_seq"),
)

LEASE = Table(
    "lease",  # one row, made with the table
    METADATA,
    Column("holder", String, nullable=False),
    Column("token", Integer, nullable=False),  # rises with every other holder
    Column("expires_s", Double, nullable=False),  # unix seconds on the database's clock
)

SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    Column("target", String, primary_key=True),
    Column("at_s", Double, primary_key=True),
    Column("codec", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("snapshots_by_age", "at_s"),
)

THINNED = Table(
    "thinned_snapshots",
    METADATA,
    Column("target", String, primary_key=True),
    Column("period", Integer, primary_key=True),  # hours since 1970: of each, the first snapshot is here
    Column("at_s", Double, nullable=False),
    Column("codec", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("thinned_snapshots_by_age", "at_s"),
)

SERVICES = Table(
    "services",
    METADATA,
    Column("id", String, primary_key=True),
    Column("codec", Integer, nullable=False),
    Column("body", Text, nullable=False),
)

STEP_TIMES = Table(
    "step_times",
    METADATA,
    Column("key", String, primary_key=True),  # engine, release, hardware, model and data types
    Column("codec", Integer, nullable=False),
    Column("body", Text, nullable=False),
)
