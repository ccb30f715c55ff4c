"""SQLite: one file that the agents of one machine may share, or a database in memory.

Each process has one connection, lent to one transaction at a time: SQLite has one writer anyway, and a database in
memory lives only as long as its connection. The journal needs a commit to be on disk when it returns, hence
`synchronous=FULL`: with `NORMAL`, a write-ahead log may lose the last commits when power fails
(https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, inspect, text

from perfagent.domain.errors import StoreFailed

NOW = text("SELECT (julianday('now') - 2440587.5) * 86400.0")
"""The machine's clock as unix seconds; 2440587.5 is the Julian day of 1970-01-01."""

_BUSY_TIMEOUT_MS = 5_000
"""Others (an agent, a backup, a person with `sqlite3`) may hold us up this long before we give up."""


def open_engine(path: Path | None) -> Engine:
    """The file, made with its folder where missing. Raises `StoreFailed` where the folder cannot be made."""
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreFailed(f"cannot make the data folder {path.parent}: {error.strerror}") from error
    engine = create_engine(
        URL.create("sqlite", database=None if path is None else str(path)),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        connect_args={"check_same_thread": False},
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def prepare(connection: Connection, name: str) -> None:
    """Raise `StoreFailed` when a table that must not be lost is damaged.

    The history is not read through: it may be large, and its unreadable rows are no disaster.
    """
    for table in inspect(connection).get_table_names():
        if table in {"rollout_events", "services", "lease"}:
            found = connection.exec_driver_sql(f"PRAGMA quick_check({table})").scalars().first()
            if found != "ok":
                raise StoreFailed(f"{name} is damaged: {found}")


def _configure(connection: sqlite3.Connection, _: object) -> None:
    # the driver's own BEGIN comes too late for DDL and not at all for SELECT; `_begin` sends it instead
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    # one that began as a reader could not write any more once another process has written
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
