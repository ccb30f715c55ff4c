"""The append-only record of rollouts, in SQL."""

from collections.abc import Sequence

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError

from perfagent.domain.errors import Conflict
from perfagent.store.database import Database
from perfagent.store.tables import EVENTS


class SqlJournal:
    """A `Journal`: an event is on disk when `append` returns. Every method raises `StoreFailed`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, rollout_id: str, seq: int, at_s: float, kind: str, body: str) -> None:
        """Record an event, durable on return. Raises `Conflict` when (rollout, seq) exists."""
        with self._database.transaction() as connection:
            try:
                connection.execute(
                    insert(EVENTS), {"rollout_id": rollout_id, "seq": seq, "at_s": at_s, "kind": kind, "body": body}
                )
            except IntegrityError as error:
                raise Conflict(f"event {seq} of rollout {rollout_id!r} is already journalled") from error

    def events(self, rollout_id: str) -> Sequence[tuple[int, float, str, str]]:
        """All events of a rollout by seq; empty for an unknown one."""
        query = (
            select(EVENTS.c.seq, EVENTS.c.at_s, EVENTS.c.kind, EVENTS.c.body)
            .where(EVENTS.c.rollout_id == rollout_id)
            .order_by(EVENTS.c.seq)
        )
        with self._database.transaction() as connection:
            return [(row.seq, row.at_s, row.kind, row.body) for row in connection.execute(query)]

    def rollout_ids(self) -> Sequence[str]:
        """Every rollout ever begun, oldest first."""
        query = select(EVENTS.c.rollout_id).group_by(EVENTS.c.rollout_id).order_by(func.min(EVENTS.c.position))
        with self._database.transaction() as connection:
            return list(connection.execute(query).scalars())
