"""One contract, two histories; then what only the SQL one can do wrong."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update

from perfagent.domain.errors import StoreFailed
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Snapshot
from perfagent.domain.window import Window
from perfagent.ports import History
from perfagent.store.database import Database
from perfagent.store.history import SqlHistory
from perfagent.store.memory import MemoryHistory
from perfagent.store.tables import SNAPSHOTS

RETENTION_S = 100.0
MAX_PER_TARGET = 5


@pytest.fixture(params=["memory", "sql"])
def history(request: pytest.FixtureRequest) -> History:
    if request.param == "memory":
        return MemoryHistory(RETENTION_S, MAX_PER_TARGET)
    return SqlHistory(request.getfixturevalue("database"), RETENTION_S, MAX_PER_TARGET)


def at(*times: float, target: str = "a", running: float = 1.0) -> list[Snapshot]:
    return [Snapshot(target, "vllm", time, scalars={Metric.RUNNING: {(): running}}) for time in times]


def times(found: Sequence[Snapshot]) -> list[float]:
    return [snapshot.at_s for snapshot in found]


def test_snapshots_come_back_from_the_start_asked_for_in_time_order(history: History) -> None:
    history.add(at(30.0, 10.0))
    history.add(at(20.0))
    assert history.since("a", 0.0) == at(10.0, 20.0, 30.0)
    assert history.since("a", 20.0) == at(20.0, 30.0)
    assert history.since("a", 30.5) == []


def test_replicas_have_their_own_snapshots(history: History) -> None:
    history.add(at(10.0) + at(10.0, target="b"))
    assert history.since("b", 0.0) == at(10.0, target="b")
    assert history.since("c", 0.0) == []


def test_nothing_added_is_no_error(history: History) -> None:
    history.add([])
    assert history.since("a", 0.0) == []


def test_a_second_snapshot_of_the_same_instant_takes_the_place_of_the_first(history: History) -> None:
    history.add(at(10.0, running=1.0) + at(10.0, running=2.0))
    assert history.since("a", 0.0) == at(10.0, running=2.0)
    history.add(at(10.0, running=3.0))
    assert history.since("a", 0.0) == at(10.0, running=3.0)


def test_what_is_older_than_the_retention_is_forgotten_for_every_replica(history: History) -> None:
    history.add(at(10.0, 20.0) + at(15.0, target="b"))
    history.add(at(120.0))
    assert times(history.since("a", 0.0)) == [20.0, 120.0]
    assert history.since("b", 0.0) == []
    history.add(at(5.0))
    assert times(history.since("a", 0.0)) == [20.0, 120.0]


def test_of_too_many_snapshots_the_latest_stay(history: History) -> None:
    history.add(at(*range(1, 9)) + at(1.0, target="b"))
    assert times(history.since("a", 0.0)) == [4.0, 5.0, 6.0, 7.0, 8.0]
    assert times(history.since("b", 0.0)) == [1.0]
    history.add(at(3.5, 9.0))
    assert times(history.since("a", 0.0)) == [5.0, 6.0, 7.0, 8.0, 9.0]


SNAPSHOT = st.builds(
    lambda target, time, running: at(time, target=target, running=running)[0],
    st.sampled_from("ab"),
    st.integers(0, 250).map(float),
    st.sampled_from([1.0, 2.0]),
)


def test_both_histories_tell_the_same_also_after_a_restart(database: Database) -> None:
    @given(st.lists(st.lists(SNAPSHOT, max_size=8) | st.none(), max_size=8))
    def they_do(batches: list[list[Snapshot] | None]) -> None:
        with database.transaction() as connection:
            connection.execute(delete(SNAPSHOTS))
        memory, sql = MemoryHistory(RETENTION_S, MAX_PER_TARGET), SqlHistory(database, RETENTION_S, MAX_PER_TARGET)
        for batch in batches:
            if batch is None:
                sql = SqlHistory(database, RETENTION_S, MAX_PER_TARGET)
            else:
                memory.add(batch)
                sql.add(batch)
            for target in "ab":
                found = sql.since(target, 50.0)
                assert found == memory.since(target, 50.0)
                assert not found or Window(tuple(found)).snapshots

    they_do()


def rows(database: Database) -> int:
    with database.transaction() as connection:
        return connection.execute(select(func.count()).select_from(SNAPSHOTS)).scalar_one()


def test_rows_beyond_the_bounds_do_not_pile_up(database: Database) -> None:
    history = SqlHistory(database, RETENTION_S, MAX_PER_TARGET)
    for start in range(0, 3_000, 50):
        history.add(at(*range(start, start + 50)))
        assert rows(database) <= 1_000 + MAX_PER_TARGET
    assert times(history.since("a", 0.0)) == [2995.0, 2996.0, 2997.0, 2998.0, 2999.0]


def test_a_restart_clears_what_is_beyond_the_bounds(database: Database) -> None:
    SqlHistory(database, RETENTION_S, 1_000).add(at(1.0, target="b") + at(*range(200, 250)))
    SqlHistory(database, RETENTION_S, MAX_PER_TARGET)
    assert rows(database) == MAX_PER_TARGET


@pytest.mark.parametrize("damage", [{"body": b"not zlib"}, {"codec": 99}])
def test_an_unreadable_row_is_left_out_and_counted(database: Database, damage: dict[str, object]) -> None:
    history = SqlHistory(database)
    history.add(at(10.0, 20.0, 30.0))
    with database.transaction() as connection:
        connection.execute(update(SNAPSHOTS).where(SNAPSHOTS.c.at_s == 20.0).values(damage))
    assert times(history.since("a", 0.0)) == [10.0, 30.0]
    assert history.unreadable == 1


def test_a_batch_that_does_not_fit_on_the_disk_is_not_kept_in_part(database: Database) -> None:
    history = SqlHistory(database, RETENTION_S, 10_000)
    history.add(at(10.0))
    with database.transaction() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreFailed, match="database or disk is full"):
        history.add(at(*range(20, 320)))
    assert history.since("a", 0.0) == at(10.0)
    history.add(at(11.0))
    assert history.since("a", 0.0) == at(10.0, 11.0)
