"""One contract, three journals."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from perfagent.domain.errors import Conflict
from perfagent.ports import Journal, Recorded
from perfagent.store.database import Database
from perfagent.store.journal import SqlJournal
from perfagent.store.memory import MemoryJournal


@pytest.fixture
def journal(kept_in: Database | None) -> Journal:
    return MemoryJournal() if kept_in is None else SqlJournal(kept_in)


def test_events_come_back_as_they_were_in_the_order_of_their_seq(journal: Journal) -> None:
    journal.append("r1", 1, 1_800_000_000.123456, "applied", '{"text": "é\\u0000\\n"}')
    journal.append("r1", 0, 0.1 + 0.2, "begun", "")
    assert journal.events("r1") == [
        (0, 0.1 + 0.2, "begun", ""),
        (1, 1_800_000_000.123456, "applied", '{"text": "é\\u0000\\n"}'),
    ]


def test_an_unknown_rollout_has_no_events(journal: Journal) -> None:
    assert journal.events("r1") == []
    assert journal.after(0) == []


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


def test_all_that_was_journalled_after_a_position_is_told_in_the_order_in_which_it_was(journal: Journal) -> None:
    appended = [("z", 0), ("a", 0), ("z", 1), ("m", 0), ("a", 1)]
    for rollout, seq in appended:
        journal.append(rollout, seq, 1.5, "event", "{}")
    everything = journal.after(0)
    assert [event for _, event in everything] == [Recorded(*each, 1.5, "event", "{}") for each in appended]
    positions = [position for position, _ in everything]
    assert positions == sorted(set(positions))
    assert positions[0] > 0
    assert journal.after(positions[2]) == everything[3:]
    assert journal.after(positions[-1]) == []


def test_a_rollout_that_begins_beside_one_that_was_not_seen_is_refused(journal: Journal) -> None:
    journal.append("r1", 0, 1.0, "begun", "", seen=0)
    ((position, _),) = journal.after(0)
    with pytest.raises(Conflict, match="rollout r1 was begun at the same moment"):
        journal.append("r2", 0, 2.0, "begun", "", seen=0)
    journal.append("r1", 1, 3.0, "applied", "")
    journal.append("r2", 0, 4.0, "begun", "", seen=position)
    assert [event.rollout_id for _, event in journal.after(0)] == ["r1", "r1", "r2"]


def test_threads_may_append_at_once(database: Database) -> None:
    journal = SqlJournal(database)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seq: journal.append("r1", seq, 1.0, "event", ""), range(100)))
    assert [seq for seq, *_ in journal.events("r1")] == list(range(100))
