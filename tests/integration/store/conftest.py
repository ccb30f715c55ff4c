"""Databases for the contracts: each kind alone, all of them in turn, and (None) what is kept in memory."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text, update

from perfagent.store.database import Database, open_database
from perfagent.store.tables import LEASE, METADATA
from support.postgres import Postgres


@pytest.fixture
def sqlite() -> Iterator[Database]:
    with open_database(None) as opened:
        yield opened


@pytest.fixture(scope="session")
def opened_postgres(server: Postgres) -> Iterator[Database]:
    with open_database(server.new_database()) as opened:
        yield opened


@pytest.fixture
def postgres(opened_postgres: Database) -> Database:
    """As it was when it was new."""
    filled = [table.name for table in METADATA.sorted_tables if table is not LEASE]
    with opened_postgres.transaction() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY"))
        connection.execute(update(LEASE).values(holder="", token=0, expires_s=0.0))
    return opened_postgres


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def kept_in(request: pytest.FixtureRequest) -> Database | None:
    return None if request.param == "memory" else request.getfixturevalue(request.param)
