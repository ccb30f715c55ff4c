"""One contract, three leases; how each runs out is a fixture."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update

from perfagent.clock import SystemClock, VirtualClock
from perfagent.domain.errors import LeaseLost
from perfagent.ports import Journal, Lease
from perfagent.store.database import Database, open_database
from perfagent.store.journal import SqlJournal
from perfagent.store.lease import SqlLease
from perfagent.store.memory import Held, MemoryJournal, MemoryLease
from perfagent.store.tables import LEASE
from support.postgres import Postgres

LEASE_S = 3600.0


@dataclass(frozen=True)
class Shared:
    """A store as its agents see it."""

    lease_of: Callable[[str], Lease]
    journal: Journal
    run_out: Callable[[], None]
    """Let the lease run out."""


@pytest.fixture
def shared(kept_in: Database | None) -> Shared:
    if kept_in is None:
        clock, held = VirtualClock(), Held()

        def pass_time() -> None:
            held.expires_s = clock.now()

        return Shared(lambda holder: MemoryLease(holder, clock, held), MemoryJournal(held), pass_time)

    def age() -> None:
        with kept_in.transaction() as connection:
            connection.execute(update(LEASE).values(expires_s=LEASE.c.expires_s - LEASE_S))

    return Shared(lambda holder: SqlLease(kept_in, holder), SqlJournal(kept_in), age)


def test_the_first_who_asks_has_it_and_the_next_one_is_told_who_that_is(shared: Shared) -> None:
    assert shared.lease_of("one").claim(LEASE_S)[:2] == ("one", 1)
    assert shared.lease_of("other").claim(LEASE_S)[:2] == ("one", None)


def test_who_has_it_keeps_it_under_the_same_token(shared: Shared) -> None:
    one = shared.lease_of("one")
    assert [one.claim(LEASE_S).token for _ in range(3)] == [1, 1, 1]


def test_once_it_has_run_out_another_one_takes_over_with_a_higher_token(shared: Shared) -> None:
    one, other = shared.lease_of("one"), shared.lease_of("other")
    one.claim(LEASE_S)
    shared.run_out()
    assert other.claim(LEASE_S)[:2] == ("other", 2)
    assert one.claim(LEASE_S)[:2] == ("other", None)


def test_who_comes_back_late_keeps_it_where_nobody_wanted_it(shared: Shared) -> None:
    one = shared.lease_of("one")
    one.claim(LEASE_S)
    shared.run_out()
    assert one.claim(LEASE_S)[:2] == ("one", 1)
    assert shared.lease_of("other").claim(LEASE_S).token is None


def test_what_is_released_is_had_at_once_by_another_and_by_nobody_but_its_holder(shared: Shared) -> None:
    one, other = shared.lease_of("one"), shared.lease_of("other")
    one.claim(LEASE_S)
    other.release()
    assert other.claim(LEASE_S).token is None
    one.release()
    assert other.claim(LEASE_S).token == 2


def test_what_a_former_holder_writes_is_refused_and_what_people_say_is_not(shared: Shared) -> None:
    one, other = shared.lease_of("one"), shared.lease_of("other")
    before = one.claim(LEASE_S).token
    shared.journal.append("r1", 0, 1.0, "begun", "", token=before)
    shared.run_out()
    shared.journal.append("r1", 1, 2.0, "touching", "late, but nobody has taken over", token=before)
    after = other.claim(LEASE_S).token
    with pytest.raises(LeaseLost, match="other acts by now"):
        shared.journal.append("r1", 2, 3.0, "touching", "a zombie's", token=before)
    shared.journal.append("r1", 2, 4.0, "touching", "the new one's", token=after)
    shared.journal.append("r1", 3, 5.0, "aborted", "a person's")
    assert [(seq, body) for seq, _, _, body in shared.journal.events("r1")] == [
        (0, ""),
        (1, "late, but nobody has taken over"),
        (2, "the new one's"),
        (3, "a person's"),
    ]


def test_the_clock_is_the_databases(database: Database) -> None:
    """Both databases run on this machine, so theirs must show what ours does."""
    before_s = SystemClock().now()
    told_s = SqlLease(database, "one").claim(LEASE_S).now_s
    assert before_s - 0.01 <= told_s <= SystemClock().now() + 0.01


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_of_many_who_ask_at_once_one_has_it(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    server: Postgres | None = request.getfixturevalue("server") if kind == "postgres" else None
    where = tmp_path / "agent.db" if server is None else server.new_database()

    def claim(agent: int) -> int | None:
        with open_database(where) as database:
            return SqlLease(database, f"agent {agent}").claim(LEASE_S).token

    with ThreadPoolExecutor(4) as pool:
        tokens = list(pool.map(claim, range(8)))
    assert [token for token in tokens if token is not None] == [1]
