"""Which of the agents on one database acts, in SQL.

The lease is one row, and the one lock of the journal: whoever claims it or appends an event keeps the row to the end of
the transaction. So no event gets in beside a takeover, and events become visible in the order of their positions.
"""

from typing import Any

from sqlalchemy import Connection, Row, select, update

from perfagent.ports import Tenure
from perfagent.store.database import Database
from perfagent.store.tables import LEASE


class SqlLease:
    """A `Lease` for one agent, by the database's clock. Every method raises `StoreFailed`.

    `holder` names this life of the process: another life is another holder and gets a higher token.
    """

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder

    def claim(self, lease_s: float) -> Tenure:
        """Take it where it is free or has run out, prolong it where it is ours; otherwise tell who has it."""
        with self._database.transaction() as connection:
            found = locked(connection)
            now_s = self._database.now_s(connection)
            ours = found.holder == self._holder
            if not ours and now_s < found.expires_s:
                return Tenure(found.holder, None, now_s, found.expires_s - now_s)
            token = found.token if ours else found.token + 1
            connection.execute(update(LEASE).values(holder=self._holder, token=token, expires_s=now_s + lease_s))
        return Tenure(self._holder, token, now_s, lease_s)

    def release(self) -> None:
        """Let another agent have it at once; nothing happens where it is not ours."""
        with self._database.transaction() as connection:
            connection.execute(update(LEASE).where(LEASE.c.holder == self._holder).values(expires_s=0.0))


def locked(connection: Connection) -> Row[Any]:
    """The lease's row, which nobody else reads so or changes before this transaction ends.

    SQLite has no such locks and needs none: its transactions that write come one after another from their start.
    """
    return connection.execute(select(LEASE).with_for_update()).one()
