"""One SQLite file with our tables, opened safely, or the same in memory.

There is one connection, lent to one transaction at a time: SQLite has one writer anyway, and an in-memory database
lives only as long as its connection. The journal needs a commit to be on disk when it returns, hence
`synchronous=FULL`: with `NORMAL`, a write-ahead log may lose the last commits when power fails
(https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from perfagent.domain.errors import StoreFailed
from perfagent.store.lock import FileLock

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_MS = 5_000
"""A reader from outside (a backup, a person with `sqlite3`) may hold us up this long before we give up."""


class Database:
    """An open database. Use as a context manager, or `close` it."""

    def __init__(self, engine: Engine, name: str, lock: FileLock | None) -> None:
        self._engine = engine
        self.name = name
        self._lock = lock
        self._closed = False

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose work is committed, and on disk, at the end, or undone when the block raises.

        Raises `StoreFailed` where the database cannot do its part. Transactions do not nest.
        """
        if self._closed:
            raise StoreFailed(f"{self.name} is closed")
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreFailed(f"{self.name}: {_reason(error)}") from error

    def close(self) -> None:
        """Write everything into the main file and let another agent have it."""
        if self._closed:
            return
        self._closed = True
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_database(path: Path | None) -> Database:
    """Open the file, made with its folder where missing and brought to our schema; None is a database in memory.

    Raises `StoreFailed` when another agent has it open, when it is damaged, not a database, somebody else's or
    written by a newer release, and when the folder cannot be written.
    """
    database = Database(_engine(path), "the database in memory" if path is None else str(path), _lock(path))
    try:
        with database.transaction() as connection:
            _check(connection, database.name)
            _migrate(connection, database.name)
    except StoreFailed:
        database.close()
        raise
    return database


def _lock(path: Path | None) -> FileLock | None:
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(f"cannot make the data folder {path.parent}: {error.strerror}") from error
    return FileLock(path.with_name(f"{path.name}.lock"))


def _engine(path: Path | None) -> Engine:
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


def _configure(connection: sqlite3.Connection, _: object) -> None:
    # the driver's own BEGIN comes too late for DDL and not at all for SELECT; `_begin` sends it instead
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _check(connection: Connection, name: str) -> None:
    """The history is not read through: it may be large, and its unreadable rows are no disaster."""
    for table in inspect(connection).get_table_names():
        if table in {"rollout_events", "services"}:
            found = connection.exec_driver_sql(f"PRAGMA quick_check({table})").scalars().first()
            if found != "ok":
                raise StoreFailed(f"{name} is damaged: {found}")


def _migrate(connection: Connection, name: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = MigrationContext.configure(connection).get_current_heads()
    if not present and inspect(connection).get_table_names():
        raise StoreFailed(f"{name} is a database of something else")
    if not known.issuperset(present):
        raise StoreFailed(f"{name} was written by a newer release (schema {', '.join(present)}); use that release")
    command.upgrade(config, "head")


def _reason(error: SQLAlchemyError) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error)
