"""PostgreSQL: one database that any number of agents share, on as many machines as there are.

What a broken network could hang on has a limit, because an agent that waits for its records does nothing else.
"""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from perfagent.domain.errors import InvalidInput, StoreFailed

NOW = text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)")
"""The server's clock as unix seconds, also in the middle of a transaction."""

_CONNECT_S = 5
"""As long as a busy SQLite file is waited for."""
_LOCK_S = 10
"""Every lock is held for milliseconds, unless its holder was stopped in mid-transaction."""
_IDLE_S = 5
"""After this the server ends the transaction of an agent that was stopped in the middle of it: others wait for it."""
_STATEMENT_S = 60
"""An assumption: far more than our longest statement needs, which is the purge of a history after a long pause."""
_MIGRATION_LOCK = 0x70657266
"""Held by whoever brings the schema up to date, so that agents that start together do not do it twice."""


def open_engine(url: str) -> Engine:
    """Connections to the database of this URL, `postgresql://user:password@host/name`.

    Raises `InvalidInput` for another kind of URL, and `StoreFailed` without the driver.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidInput("the database's URL cannot be read: postgresql://user:password@host/name") from error
    if parsed.drivername not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise InvalidInput(f"a database is a postgresql:// URL, not {parsed.drivername}://")
    try:
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            connect_args={"connect_timeout": _CONNECT_S, "tcp_user_timeout": 1000 * _LOCK_S},
        )
    except ImportError as error:
        raise StoreFailed("PostgreSQL needs its driver: pip install 'performance-agent[postgres]'") from error
    event.listen(engine, "connect", _configure)
    return engine


def prepare(connection: Connection, name: str) -> None:  # noqa: ARG001 - SQLite names what is damaged
    """Let no other agent change the schema until the transaction ends; the server checks its pages itself."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})


def _configure(connection: Any, _: object) -> None:
    connection.autocommit = True
    connection.execute(f"SET lock_timeout = '{_LOCK_S}s'")
    connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_S}s'")
    connection.execute(f"SET statement_timeout = '{_STATEMENT_S}s'")
    # a commit that returned is on disk, whatever the server's default
    connection.execute("SET synchronous_commit = on")
    connection.autocommit = False
