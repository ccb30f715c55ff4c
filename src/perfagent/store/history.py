"""Snapshots kept for a while, in SQL.

What is beyond the bounds is not shown from the moment on at which it is; its rows go later, many at a time. The first
snapshot of each hour is written a second time, to a table of its own: so neither purge has to look for what stays.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Executable,
    Integer,
    bindparam,
    case,
    cast,
    delete,
    func,
    select,
    union_all,
)

from perfagent.domain.errors import StoreFailed
from perfagent.domain.snapshot import Snapshot
from perfagent.store.bounds import MAX_PER_TARGET, RETENTION_S, THINNED_EVERY_S, THINNED_FOR_S
from perfagent.store.codec import SNAPSHOT_CODEC, decode_snapshot, encode_snapshot
from perfagent.store.database import Database, put
from perfagent.store.tables import SNAPSHOTS, THINNED

_PURGE_EVERY = 1_000
"""So many rows more than the bounds allow may lie on disk."""

_REMEMBERED = 2_000
"""Snapshots that are kept decoded, of all replicas: the windows of a hundred, in 70 MB where they are vLLM's."""

_FIRST = select(THINNED.c.at_s).where(
    THINNED.c.target == bindparam("its_target"), THINNED.c.period == bindparam("its_period")
)


def _instants() -> Executable:
    """The first and the last instant of each period in which something is kept."""
    recent = (
        select(SNAPSHOTS.c.at_s)
        .where(SNAPSHOTS.c.target == bindparam("its_target"), SNAPSHOTS.c.at_s >= bindparam("recent_s"))
        .order_by(SNAPSHOTS.c.at_s.desc())
        .limit(bindparam("most"))
        .subquery()
    )
    thinned = select(THINNED.c.at_s).where(
        THINNED.c.target == bindparam("its_target"), THINNED.c.at_s >= bindparam("thinned_s")
    )
    kept = union_all(select(recent.c.at_s), thinned).subquery()
    period = _floor((kept.c.at_s - bindparam("start_s")) / bindparam("every_s", type_=Double))
    return select(func.min(kept.c.at_s), func.max(kept.c.at_s)).group_by(period)


def _floor(number: ColumnElement[Any]) -> ColumnElement[int]:
    """Rounded down, of what is not negative: a cast rounds in PostgreSQL and cuts off in SQLite."""
    whole = cast(number, Integer)
    return whole - case((whole > number, 1), else_=0)


_INSTANTS = _instants()
_BODIES = union_all(
    *(
        select(table.c.at_s, table.c.codec, table.c.body).where(
            table.c.target == bindparam("its_target"), table.c.at_s.in_(bindparam("chosen", expanding=True))
        )
        for table in (SNAPSHOTS, THINNED)
    )
)

_Firsts = dict[str, tuple[int, float]]
"""Replica → the period last written to, and when the first snapshot of it was taken."""


class SqlHistory:
    """A `History`. Every method raises `StoreFailed`."""

    def __init__(
        self,
        database: Database,
        retention_s: float = RETENTION_S,
        max_per_target: int = MAX_PER_TARGET,
        *,
        thinned_every_s: float = THINNED_EVERY_S,
        thinned_for_s: float = THINNED_FOR_S,
    ) -> None:
        self.unreadable = 0
        """Rows that were left out so far because they could not be read."""
        self._database = database
        self._retention_s = retention_s
        self._max_per_target = max_per_target
        self._thinned_every_s = thinned_every_s
        self._thinned_for_s = thinned_for_s
        self._decoded = lru_cache(_REMEMBERED)(decode_snapshot)  # windows overlap: most of one was in the one before
        self._written: list[str] = []
        self._firsts: _Firsts = {}
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
            put(connection, SNAPSHOTS, rows)
            firsts = self._thin(connection, rows, latest_s - self._thinned_for_s)
            if purge:
                self._purge(connection, latest_s, set(written))
        self._latest_s = latest_s
        self._written = [] if purge else written
        long_ago_s = latest_s - 2 * self._thinned_every_s
        self._firsts = {t: known for t, known in firsts.items() if long_ago_s < known[1] < inf} if purge else firsts

    def since(self, target: str, start_s: float) -> Sequence[Snapshot]:
        """A replica's snapshots from `start_s` on, strictly rising in time. A row that cannot be read is left out."""
        query = (
            select(SNAPSHOTS.c.codec, SNAPSHOTS.c.body)
            .where(SNAPSHOTS.c.target == target, SNAPSHOTS.c.at_s >= max(start_s, self._latest_s - self._retention_s))
            .order_by(SNAPSHOTS.c.at_s.desc())
            .limit(self._max_per_target)
        )
        with self._database.transaction(reading=True) as connection:
            rows = connection.execute(query).all()
        return self._readable(reversed(rows))

    def sampled(self, target: str, start_s: float, every_s: float) -> Sequence[Snapshot]:
        """The first of a replica's snapshots in each `every_s` from `start_s` on, and the newest, rising in time.

        The instants are chosen first, from the indexes alone, so that only these snapshots are read and decoded.
        """
        wanted = {
            "its_target": target,
            "start_s": start_s,
            "every_s": every_s,
            "recent_s": max(start_s, self._latest_s - self._retention_s),
            "most": self._max_per_target,
            "thinned_s": max(start_s, self._latest_s - self._thinned_for_s),
        }
        with self._database.transaction(reading=True) as connection:
            ends = connection.execute(_INSTANTS, wanted).all()
            if not ends:
                return []
            chosen = [*(first for first, _ in ends), max(last for _, last in ends)]
            rows = connection.execute(_BODIES, {"its_target": target, "chosen": chosen})
            found = {row.at_s: (row.codec, row.body) for row in rows}
        return self._readable(found[at_s] for at_s in sorted(found))

    def _readable(self, rows: Iterable[Sequence[Any]]) -> Sequence[Snapshot]:
        found = []
        for codec, body in rows:
            try:
                found.append(self._decoded(codec, body))
            except StoreFailed:
                self.unreadable += 1
        return found

    def _thin(self, connection: Connection, rows: Iterable[Mapping[str, Any]], oldest_s: float) -> _Firsts:
        """Keep longer those that are the first of their period from `oldest_s` on, and tell of each replica's last."""
        known = dict(self._firsts)
        keep: dict[tuple[str, int], dict[str, Any]] = {}
        for row in sorted(rows, key=lambda each: float(each["at_s"])):
            target, at_s = row["target"], row["at_s"]
            period = int(at_s // self._thinned_every_s)
            if known.get(target, (None,))[0] != period:
                first = connection.execute(_FIRST, {"its_target": target, "its_period": period}).scalar_one_or_none()
                known[target] = (period, inf if first is None else first)
            first_s = known[target][1]
            if oldest_s <= at_s and (at_s <= first_s or first_s < oldest_s):
                known[target] = (period, at_s)
                keep[target, period] = {**row, "period": period}
        if keep:
            put(connection, THINNED, list(keep.values()))
        return known

    def _purge(self, connection: Connection, latest_s: float, targets: Iterable[str]) -> None:
        connection.execute(delete(THINNED).where(THINNED.c.at_s < latest_s - self._thinned_for_s))
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
