"""What is special about a database that has a server of its own."""

import builtins
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import text

from perfagent.domain.errors import InvalidInput, StoreFailed
from perfagent.store.database import Database, open_database
from perfagent.store.journal import SqlJournal
from perfagent.store.lease import SqlLease, locked
from support.postgres import Postgres


def refusal(url: str) -> str:
    with pytest.raises(StoreFailed) as refused:
        open_database(url)
    return str(refused.value)


def test_what_was_written_is_there_for_the_next_agent(server: Postgres) -> None:
    url = server.new_database()
    with open_database(url) as database:
        SqlJournal(database).append("r1", 0, 1.0, "event", "é\n")
    with open_database(url) as database:
        assert SqlJournal(database).events("r1") == [(0, 1.0, "event", "é\n")]


def test_agents_that_start_together_bring_the_schema_up_to_date_once(server: Postgres) -> None:
    url = server.new_database()

    def start(agent: int) -> None:
        with open_database(url) as database:
            SqlJournal(database).append(f"r{agent}", 0, 1.0, "event", "")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, range(4)))
    with open_database(url) as database:
        assert len(SqlJournal(database).after(0)) == 4


def test_events_are_told_in_one_order_however_many_write_at_once(server: Postgres) -> None:
    """A position that became visible after a later one would never be read: who reads goes on behind the last."""

    def write(agent: int) -> None:
        with open_database(url) as database:
            for seq in range(100):
                SqlJournal(database).append(f"r{agent}", seq, 1.0, "event", "")

    url, seen, position, ended = server.new_database(), set[tuple[str, int]](), 0, False
    with open_database(url) as reading, ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, agent) for agent in range(4)]
        while not ended:
            ended = all(each.done() for each in writing)  # asked before it is read, so that the last reading is whole
            for at, event in SqlJournal(reading).after(position):
                position = at
                seen.add((event.rollout_id, event.seq))
    assert [each.result() for each in writing] == [None] * 4
    assert seen == {(f"r{agent}", seq) for agent in range(4) for seq in range(100)}


def test_a_database_of_something_else_is_refused_and_left_alone(server: Postgres) -> None:
    url = server.new_database()
    with open_database(url) as database, database.transaction() as connection:
        for table in ("alembic_version", "lease"):
            connection.execute(text(f"DROP TABLE {table}"))
    assert refusal(url).endswith("is a database of something else")
    assert refusal(url).endswith("is a database of something else")


def test_a_schema_of_a_later_release_is_refused(server: Postgres) -> None:
    url = server.new_database()
    with open_database(url) as database, database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert refusal(url).endswith("was written by a newer release (schema 9999); use that release")


def test_a_server_that_does_not_answer_is_told_without_the_password() -> None:
    told = refusal("postgresql://ann:s3cret@127.0.0.1:1/agents")
    assert told.startswith("postgresql://ann:***@127.0.0.1:1/agents: ")
    assert "refused" in told
    assert "s3cret" not in told


def test_a_database_that_is_not_there_is_told(server: Postgres) -> None:
    assert 'database "nowhere" does not exist' in refusal(server.url("nowhere"))


@pytest.mark.parametrize("url", ["mysql://ann@db/agents", "sqlite:///agents.db", "postgresql+psycopg2://db/agents"])
def test_a_url_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="a database is a postgresql:// URL, not"):
        open_database(url)


def test_what_is_no_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(InvalidInput, match="cannot be read") as refused:
        open_database("ann:s3cret@db")
    assert "s3cret" not in str(refused.value)


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "psycopg":
            raise ImportError(name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert refusal("postgresql://db/agents") == (
        "PostgreSQL needs its driver: pip install 'performance-agent[postgres]'"
    )


def test_a_commit_is_on_disk_when_it_returns_and_nothing_hangs_for_ever(postgres: Database) -> None:
    with postgres.transaction() as connection:
        names = ("synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout")
        settings = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    assert settings == ["on", "10s", "5s", "1min"]


def test_an_agent_that_stops_in_mid_transaction_keeps_the_others_waiting_only_so_long(server: Postgres) -> None:
    url = server.new_database()
    with open_database(url) as stopped, open_database(url) as other, ExitStack() as stack:
        connection = stack.enter_context(stopped.transaction())
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '300ms'"))  # to wait for less
        locked(connection)
        assert SqlLease(other, "other").claim(60.0).token == 1
        with pytest.raises(StoreFailed):
            stack.close()


def test_a_connection_that_the_server_has_dropped_is_made_anew(server: Postgres) -> None:
    url = server.new_database()
    with open_database(url) as database:
        server.drop_connections()
        assert SqlJournal(database).after(0) == []
