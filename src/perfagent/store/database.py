"""A database with our tables, brought to our schema when it is opened: SQLite by default, PostgreSQL for many agents.

`sqlite.py` and `postgres.py` hold all that differs between the two, but for how a row takes another one's place.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Table, TextClause, inspect
from sqlalchemy.dialects import postgresql as in_postgres
from sqlalchemy.dialects import sqlite as in_sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from perfagent.domain.errors import StoreFailed
from perfagent.store import postgres, sqlite

_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """An open database. Use as a context manager, or `close` it."""

    def __init__(self, engine: Engine, name: str, now: TextClause) -> None:
        self._engine = engine
        self.name = name
        self._now = now
        self._closed = False

    @contextmanager
    def transaction(self, *, reading: bool = False) -> Iterator[Connection]:
        """A connection whose work is committed, and on disk, at the end, or undone when the block raises.

        One that is only `reading` waits for nobody. Raises `StoreFailed` where the database cannot do its part.
        Transactions do not nest.
        """
        if self._closed:
            raise StoreFailed(f"{self.name} is closed")
        try:
            with self._engine.connect() as connection, connection.execution_options(reading=reading).begin():
                yield connection
        except SQLAlchemyError as error:
            raise StoreFailed(f"{self.name}: {_reason(error)}") from error

    def now_s(self, connection: Connection) -> float:
        """Unix seconds on the one clock that all agents on this database go by."""
        now_s: float = connection.execute(self._now).scalar_one()
        return now_s

    def close(self) -> None:
        """Let go of it; what SQLite has in its write-ahead log is written into the main file by the last one."""
        if not self._closed:
            self._closed = True
            self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_database(where: Path | str | None) -> Database:
    """Open a SQLite file, the PostgreSQL database of a URL, or (None) a new database in memory.

    A file is made with its folder where missing. Raises `StoreFailed` when it is damaged, not a database, somebody
    else's or written by a newer release, and where it cannot be reached or written; `InvalidInput` for a URL of
    something else.
    """
    if isinstance(where, str):
        engine, now, prepare = postgres.open_engine(where), postgres.NOW, postgres.prepare
        name = engine.url.set(drivername="postgresql").render_as_string(hide_password=True)
    else:
        engine, now, prepare = sqlite.open_engine(where), sqlite.NOW, sqlite.prepare
        name = "the database in memory" if where is None else str(where)
    database = Database(engine, name, now)
    try:
        with database.transaction() as connection:
            prepare(connection, name)
            _migrate(connection, name)
    except StoreFailed:
        database.close()
        raise
    return database


def put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert these rows, each in place of the one with its primary key; among `rows` a key is there once."""
    dialect = in_sqlite if connection.dialect.name == "sqlite" else in_postgres
    keys = [column.name for column in table.primary_key]
    statement = dialect.insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    # in one order, so that two agents that write the same rows wait for each other and not in a circle
    ordered = sorted(rows, key=lambda row: tuple(row[key] for key in keys))
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), ordered)


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
