"""One contract, three histories; then what only those in SQL can do wrong."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Table, delete, func, select, update

from perfagent.domain.errors import StoreFailed
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Snapshot
from perfagent.domain.window import Window
from perfagent.ports import History
from perfagent.store.database import Database, open_database
from perfagent.store.history import SqlHistory
from perfagent.store.memory import MemoryHistory
from perfagent.store.tables import SNAPSHOTS, THINNED

RETENTION_S = 100.0
MAX_PER_TARGET = 5
THINNED_EVERY_S = 40.0
THINNED_FOR_S = 400.0


def in_memory() -> MemoryHistory:
    return MemoryHistory(RETENTION_S, MAX_PER_TARGET, thinned_every_s=THINNED_EVERY_S, thinned_for_s=THINNED_FOR_S)


def in_sql(database: Database) -> SqlHistory:
    return SqlHistory(
        database, RETENTION_S, MAX_PER_TARGET, thinned_every_s=THINNED_EVERY_S, thinned_for_s=THINNED_FOR_S
    )


@pytest.fixture
def history(kept_in: Database | None) -> History:
    return in_memory() if kept_in is None else in_sql(kept_in)


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


def test_sampled_are_the_first_of_each_period_and_the_newest(history: History) -> None:
    history.add(at(100.0, 101.0, 104.0, 125.0, 126.0) + at(103.0, target="b"))
    assert times(history.sampled("a", 100.0, 10.0)) == [100.0, 125.0, 126.0]
    assert times(history.sampled("a", 101.0, 3.0)) == [101.0, 104.0, 125.0, 126.0]
    assert times(history.sampled("a", 126.0, 10.0)) == [126.0]
    assert history.sampled("a", 127.0, 10.0) == []
    assert history.sampled("c", 0.0, 10.0) == []
    assert history.sampled("b", 0.0, 1_000.0) == at(103.0, target="b")


def test_the_first_of_each_hour_stays_longer_than_the_rest_but_not_for_ever(history: History) -> None:
    for time in range(0, 500, 10):
        history.add(at(time))
    assert times(history.since("a", 0.0)) == [450.0, 460.0, 470.0, 480.0, 490.0]
    assert times(history.sampled("a", 0.0, 40.0)) == [*range(120, 481, 40), 490.0]
    assert times(history.sampled("a", 0.0, 10.0)) == [*range(120, 441, 40), 450.0, 460.0, 470.0, 480.0, 490.0]
    assert times(history.sampled("a", 130.0, 120.0)) == [160.0, 280.0, 400.0, 490.0]


def test_a_late_snapshot_becomes_the_first_of_its_hour(history: History) -> None:
    history.add(at(10.0, running=1.0) + at(20.0, 170.0))
    history.add(at(15.0, running=2.0))
    history.add(at(10.0, running=3.0))
    assert history.sampled("a", 0.0, 40.0) == at(10.0, running=3.0) + at(170.0)
    history.add(at(5.0, running=4.0) + at(50.0))
    assert history.sampled("a", 0.0, 40.0) == at(5.0, running=4.0) + at(50.0, 170.0)


def test_every_replica_has_its_own_first_of_an_hour(history: History) -> None:
    history.add(at(10.0, 30.0) + at(20.0, target="b"))
    history.add(at(300.0))
    assert times(history.sampled("a", 0.0, 40.0)) == [10.0, 300.0]
    assert times(history.sampled("b", 0.0, 40.0)) == [20.0]


SNAPSHOT = st.builds(
    lambda target, time, running: at(time, target=target, running=running)[0],
    st.sampled_from("ab"),
    st.integers(0, 250).map(float) | st.integers(0, 800).map(float),
    st.sampled_from([1.0, 2.0]),
)


def test_both_histories_tell_the_same_also_after_a_restart(database: Database) -> None:
    @given(st.lists(st.lists(SNAPSHOT, max_size=8) | st.none(), max_size=8))
    def they_do(batches: list[list[Snapshot] | None]) -> None:
        with database.transaction() as connection:
            connection.execute(delete(SNAPSHOTS))
            connection.execute(delete(THINNED))
        memory, sql = in_memory(), in_sql(database)
        for batch in batches:
            if batch is None:
                sql = in_sql(database)
            else:
                memory.add(batch)
                sql.add(batch)
            for target in "ab":
                found = sql.since(target, 50.0)
                assert found == memory.since(target, 50.0)
                assert not found or Window(tuple(found)).snapshots
                for start_s, every_s in ((0.0, 40.0), (33.0, 7.0), (101.5, 1_000.0)):
                    sampled = sql.sampled(target, start_s, every_s)
                    assert sampled == memory.sampled(target, start_s, every_s)
                    assert not sampled or Window(tuple(sampled)).snapshots

    they_do()


def rows(database: Database, table: Table = SNAPSHOTS) -> int:
    with database.transaction() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_rows_beyond_the_bounds_do_not_pile_up(database: Database) -> None:
    history = SqlHistory(database, RETENTION_S, MAX_PER_TARGET)
    for start in range(0, 3_000, 50):
        history.add(at(*range(start, start + 50)))
        assert rows(database) <= 1_000 + MAX_PER_TARGET
    assert times(history.since("a", 0.0)) == [2995.0, 2996.0, 2997.0, 2998.0, 2999.0]


def test_of_what_is_kept_longer_only_so_much_piles_up(database: Database) -> None:
    history = in_sql(database)
    for start in range(0, 4_000, 100):
        history.add(at(*range(start, start + 100)))
    assert rows(database, THINNED) <= (THINNED_FOR_S + 1_000) / THINNED_EVERY_S + 1
    assert times(history.sampled("a", 0.0, 40.0)) == [*range(3_600, 3_999, 40), 3_999.0]


def test_the_first_of_an_hour_is_still_the_first_after_a_restart(tmp_path: Path) -> None:
    for start in range(0, 600, 30):
        with open_database(tmp_path / "agent.db") as database:
            in_sql(database).add(at(start, start + 15))
    with open_database(tmp_path / "agent.db") as database:
        found = in_sql(database).sampled("a", 0.0, 40.0)
    assert times(found) == [210, 240, 285, 330, 360, 405, 450, 480, 525, 570, 585]


def test_only_what_is_sampled_is_read(database: Database) -> None:
    history = SqlHistory(database)
    history.add(at(*range(100)))
    with database.transaction() as connection:
        connection.execute(update(SNAPSHOTS).where(SNAPSHOTS.c.at_s.not_in([0, 50, 99])).values(body=b"not zlib"))
    assert times(history.sampled("a", 0.0, 50.0)) == [0.0, 50.0, 99.0]
    assert history.unreadable == 0


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


def test_a_batch_that_does_not_fit_on_the_disk_is_not_kept_in_part(sqlite: Database) -> None:
    database = sqlite
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
