"""Snapshots kept for a while, in SQL.

What is beyond the bounds is not shown from the moment on at which it is; its rows go later, many at a time.
"""

from collections.abc import Iterable, Sequence
from math import inf

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from perfagent.domain.errors import StoreFailed
from perfagent.domain.snapshot import Snapshot
from perfagent.store.bounds import MAX_PER_TARGET, RETENTION_S
from perfagent.store.codec import SNAPSHOT_CODEC, decode_snapshot, encode_snapshot
from perfagent.store.database import Database
from perfagent.store.tables import SNAPSHOTS

_PURGE_EVERY = 1_000
"""So many rows more than the bounds allow may lie on disk."""

_DELETE_SAME = delete(SNAPSHOTS).where(
    SNAPSHOTS.c.target == bindparam("its_target"), SNAPSHOTS.c.at_s == bindparam("its_at_s")
)


class SqlHistory:
    """A `History`. Every method raises `StoreFailed`."""

    def __init__(
        self, database: Database, retention_s: float = RETENTION_S, max_per_target: int = MAX_PER_TARGET
    ) -> None:
        self.unreadable = 0
        """Rows that `since` left out so far because they could not be read."""
        self._database = database
        self._retention_s = retention_s
        self._max_per_target = max_per_target
        self._written: list[str] = []
        with database.transaction() as connection:
            latest = connection.execute(select(func.max(SNAPSHOTS.c.at_s))).scalar_one()
            self._latest_s: float = -inf if latest is None else latest
            targets = connection.execute(select(SNAPSHOTS.c.target).distinct()).scalars().all()
            self._purge(connection, self._latest_s, targets)

    def add(self, snapshots: Sequence[Snapshot]) -> None:
        """Keep these, all or none; what is beyond the bounds is forgotten."""
        if not snapshots:
            return
        distinct = {(snapshot.target, snapshot.at_s): snapshot for snapshot in snapshots}
        rows = [
            {"target": target, "at_s": at_s, "codec": SNAPSHOT_CODEC, "body": encode_snapshot(snapshot)}
            for (target, at_s), snapshot in distinct.items()
        ]
        latest_s = max(self._latest_s, *(at_s for _, at_s in distinct))
        written = [*self._written, *(target for target, _ in distinct)]
        purge = len(written) >= _PURGE_EVERY
        with self._database.transaction() as connection:
            connection.execute(_DELETE_SAME, [{"its_target": target, "its_at_s": at_s} for target, at_s in distinct])
            connection.execute(insert(SNAPSHOTS), rows)
            if purge:
                self._purge(connection, latest_s, set(written))
        self._latest_s = latest_s
        self._written = [] if purge else written

    def since(self, target: str, start_s: float) -> Sequence[Snapshot]:
        """A replica's snapshots from `start_s` on, strictly rising in time. A row that cannot be read is left out."""
        query = (
            select(SNAPSHOTS.c.codec, SNAPSHOTS.c.body)
            .where(SNAPSHOTS.c.target == target, SNAPSHOTS.c.at_s >= max(start_s, self._latest_s - self._retention_s))
            .order_by(SNAPSHOTS.c.at_s.desc())
            .limit(self._max_per_target)
        )
        with self._database.transaction() as connection:
            rows = connection.execute(query).all()
        found = []
        for codec, body in reversed(rows):
            try:
                found.append(decode_snapshot(codec, body))
            except StoreFailed:
                self.unreadable += 1
        return found

    def _purge(self, connection: Connection, latest_s: float, targets: Iterable[str]) -> None:
        connection.execute(delete(SNAPSHOTS).where(SNAPSHOTS.c.at_s < latest_s - self._retention_s))
        kept = SNAPSHOTS.alias()
        oldest_kept = (
            select(kept.c.at_s)
            .where(kept.c.target == bindparam("its_target"))
            .order_by(kept.c.at_s.desc())
            .limit(1)
            .offset(self._max_per_target - 1)
            .scalar_subquery()
        )
        surplus = delete(SNAPSHOTS).where(SNAPSHOTS.c.target == bindparam("its_target"), SNAPSHOTS.c.at_s < oldest_kept)
        for target in targets:
            connection.execute(surplus, {"its_target": target})
