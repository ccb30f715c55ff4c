"""The append-only record of rollouts, in SQL."""

from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from perfagent.domain.errors import Conflict, LeaseLost
from perfagent.ports import Recorded
from perfagent.store.database import Database
from perfagent.store.lease import locked
from perfagent.store.tables import EVENTS


class SqlJournal:
    """A `Journal`: an event is on disk when `append` returns. Every method raises `StoreFailed`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self,
        rollout_id: str,
        seq: int,
        at_s: float,
        kind: str,
        body: str,
        *,
        token: int | None = None,
        seen: int | None = None,
    ) -> None:
        """Record an event, durable on return. Raises `Conflict` as the port says."""
        with self._database.transaction() as connection:
            lease = locked(connection)
            if token is not None and token != lease.token:
                raise LeaseLost(f"{lease.holder} acts by now")
            if seen is not None:
                began = select(EVENTS.c.rollout_id).where(EVENTS.c.position > seen, EVENTS.c.seq == 0)
                other = connection.execute(began).scalars().first()
                if other is not None:
                    raise Conflict(f"rollout {other} was begun at the same moment; ask again")
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
        with self._database.transaction(reading=True) as connection:
            return [(row.seq, row.at_s, row.kind, row.body) for row in connection.execute(query)]

    def after(self, position: int) -> Sequence[tuple[int, Recorded]]:
        """What was journalled after that position, each with its own, in order."""
        columns = EVENTS.c.rollout_id, EVENTS.c.seq, EVENTS.c.at_s, EVENTS.c.kind, EVENTS.c.body
        query = select(EVENTS.c.position, *columns).where(EVENTS.c.position > position).order_by(EVENTS.c.position)
        with self._database.transaction(reading=True) as connection:
            return [(first, Recorded(*rest)) for first, *rest in connection.execute(query)]
