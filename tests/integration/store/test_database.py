import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from perfagent.domain.errors import StoreFailed
from perfagent.store.database import Database, open_database
from perfagent.store.history import SqlHistory
from perfagent.store.journal import SqlJournal
from perfagent.store.knowledge import SqlKnowledge
from perfagent.store.services import SqlServices
from perfagent.store.tables import METADATA


def filled(path: Path) -> Path:
    with open_database(path) as database:
        for seq in range(50):
            SqlJournal(database).append("r1", seq, 1.0, "event", "x" * 1_000)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(StoreFailed) as refused:
        open_database(path)
    return str(refused.value)


def test_what_was_written_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "new 100% folder" / "agent.db"
    filled(path)
    with open_database(path) as database:
        assert len(SqlJournal(database).events("r1")) == 50


def test_two_databases_in_memory_share_nothing() -> None:
    with open_database(None) as one, open_database(None) as other:
        SqlJournal(one).append("r1", 0, 1.0, "event", "")
        assert SqlJournal(other).events("r1") == []


def test_the_steps_from_empty_lead_to_the_tables_in_use(database: Database) -> None:
    with database.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_file_of_the_first_schema_is_brought_to_ours_with_all_that_it_holds(tmp_path: Path) -> None:
    path = filled(tmp_path / "agent.db")
    first = sqlite3.connect(path)
    for newer in ("thinned_snapshots", "step_times", "lease"):
        first.execute(f"DROP TABLE {newer}")
    first.execute("UPDATE alembic_version SET version_num = '0001'")
    first.commit()
    first.close()
    with open_database(path) as database:
        assert len(SqlJournal(database).events("r1")) == 50
        with database.transaction() as connection:
            assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_transaction_that_fails_leaves_nothing_behind_not_even_a_table(database: Database) -> None:
    def run(*statements: str) -> None:
        with database.transaction() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    with pytest.raises(StoreFailed, match=r'no such table: nowhere|relation "nowhere" does not exist'):
        run("CREATE TABLE half_way (a INTEGER)", "INSERT INTO nowhere VALUES (1)")
    with pytest.raises(StoreFailed, match=r'no such table: half_way|relation "half_way" does not exist'):
        run("SELECT * FROM half_way")


def test_a_commit_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    with open_database(tmp_path / "agent.db") as database, database.transaction() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    path.write_text("a letter home\n" * 1_000)
    assert refusal(path) == f"{path}: file is not a database"
    assert path.read_text().startswith("a letter home")


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "agent.db")
    path.write_bytes(path.read_bytes()[:20_000])
    assert refusal(path) == f"{path}: database disk image is malformed"


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "agent.db")
    good = path.read_bytes()
    place = good.rindex(b"x" * 1_000)
    page = place - place % 4096
    first, second = page + 8, page + 10  # a table leaf: 8 bytes of header, then where its rows are, 2 bytes each
    overwritten = good[:page] + b"\xff" * 4096 + good[page + 4096 :]
    disordered = good[:first] + good[second : second + 2] + good[first:second] + good[second + 2 :]
    path.write_bytes(overwritten)
    assert refusal(path) == f"{path}: database disk image is malformed"
    path.write_bytes(disordered)
    assert "Rowid" in refusal(path)
    assert refusal(path).startswith(f"{path} is damaged: ")
    path.write_bytes(good)
    open_database(path).close()


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    assert refusal(path) == f"{path} is a database of something else"
    other = sqlite3.connect(path)
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]
    other.close()


def test_a_schema_of_a_later_release_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "agent.db")
    later = sqlite3.connect(path)
    later.execute("UPDATE alembic_version SET version_num = '9999'")
    later.commit()
    later.close()
    assert refusal(path) == f"{path} was written by a newer release (schema 9999); use that release"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file" / "agent.db") == f"cannot make the data folder {tmp_path / 'file'}: File exists"


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agent.db").mkdir()  # permissions would not stop a test that runs as root
    assert refusal(tmp_path / "agent.db") == f"{tmp_path / 'agent.db'}: unable to open database file"


def test_a_file_that_was_refused_may_be_opened_once_it_is_good(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    path.write_text("a letter home\n" * 1_000)
    refusal(path)
    path.unlink()
    open_database(path).close()


def test_several_agents_may_write_to_one_file_at_once(tmp_path: Path) -> None:
    """Each begins by reading, which with SQLite's own default would keep all but one from writing."""

    def append(agent: int) -> None:
        with open_database(path) as database:
            journal = SqlJournal(database)
            for _ in range(20):
                journal.append(f"r{agent}", len(journal.events(f"r{agent}")), 1.0, "event", "")

    path = tmp_path / "agent.db"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))
    with open_database(path) as database:
        assert [len(SqlJournal(database).events(f"r{agent}")) for agent in range(4)] == [20] * 4


def test_who_only_reads_waits_for_nobody_who_writes(tmp_path: Path) -> None:
    path = filled(tmp_path / "agent.db")
    with open_database(path) as writing, open_database(path) as reading, writing.transaction():
        journal = SqlJournal(reading)
        assert len(journal.events("r1")) == len(journal.after(0)) == 50
        assert SqlServices(reading).list() == []
        assert SqlKnowledge(reading).get("any") is None
    with open_database(path) as writing, open_database(path) as reading:
        history = SqlHistory(reading)
        with writing.transaction():
            assert history.since("any", 0.0) == history.sampled("any", 0.0, 1.0) == []


def test_a_closed_database_is_not_opened_again(tmp_path: Path) -> None:
    database = open_database(tmp_path / "agent.db")
    database.close()
    database.close()
    with pytest.raises(StoreFailed, match="is closed"):
        SqlJournal(database).append("r1", 0, 1.0, "event", "")
