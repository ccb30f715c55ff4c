"""One contract, two journals."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from perfagent.domain.errors import Conflict
from perfagent.ports import Journal
from perfagent.store.database import Database
from perfagent.store.journal import SqlJournal
from perfagent.store.memory import MemoryJournal


@pytest.fixture(params=["memory", "sql"])
def journal(request: pytest.FixtureRequest) -> Journal:
    return MemoryJournal() if request.param == "memory" else SqlJournal(request.getfixturevalue("database"))


def test_events_come_back_as_they_were_in_the_order_of_their_seq(journal: Journal) -> None:
    journal.append("r1", 1, 1_800_000_000.123456, "applied", '{"text": "é\\u0000\\n"}')
    journal.append("r1", 0, 0.1 + 0.2, "begun", "")
    assert journal.events("r1") == [
        (0, 0.1 + 0.2, "begun", ""),
        (1, 1_800_000_000.123456, "applied", '{"text": "é\\u0000\\n"}'),
    ]


def test_an_unknown_rollout_has_no_events(journal: Journal) -> None:
    assert journal.events("r1") == []
    assert journal.rollout_ids() == []


def test_rollouts_do_not_see_each_others_events(journal: Journal) -> None:
    journal.append("r1", 0, 1.0, "begun", "one")
    journal.append("r2", 0, 2.0, "begun", "two")
    assert journal.events("r2") == [(0, 2.0, "begun", "two")]


def test_a_seq_is_given_once_and_the_first_event_stays(journal: Journal) -> None:
    journal.append("r1", 0, 1.0, "begun", "first")
    with pytest.raises(Conflict, match="event 0 of rollout 'r1'"):
        journal.append("r1", 0, 2.0, "begun", "second")
    assert journal.events("r1") == [(0, 1.0, "begun", "first")]
    journal.append("r1", 1, 3.0, "applied", "after a conflict")


def test_rollouts_are_listed_once_in_the_order_in_which_they_began(journal: Journal) -> None:
    for rollout, seq in [("z", 0), ("a", 0), ("z", 1), ("m", 0), ("a", 1)]:
        journal.append(rollout, seq, 1.0, "event", "")
    assert journal.rollout_ids() == ["z", "a", "m"]


def test_threads_may_append_at_once(database: Database) -> None:
    journal = SqlJournal(database)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seq: journal.append("r1", seq, 1.0, "event", ""), range(100)))
    assert [seq for seq, *_ in journal.events("r1")] == list(range(100))
