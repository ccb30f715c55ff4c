import asyncio

import pytest

from perfagent.domain.errors import Conflict, Unavailable
from perfagent.store.memory import MemoryJournal
from perfagent.telemetry.events import ObservedJournal


def append(journal: ObservedJournal, seq: int) -> None:
    journal.append("r1", seq, 1.0, "applied", "{}")


async def test_listeners_hear_what_is_recorded_from_then_on() -> None:
    journal = ObservedJournal(MemoryJournal())
    append(journal, 0)
    with journal.subscribe() as one, journal.subscribe() as other:
        append(journal, 1)
        for listener in (one, other):
            news = await listener.next()
            assert news is not None
            assert [event.seq for event in news[1]] == [1]
    assert [seq for seq, *_ in journal.events("r1")] == [0, 1]


async def test_listeners_hear_what_other_agents_recorded_when_it_is_read_and_their_own_only_once() -> None:
    shared = MemoryJournal()
    journal = ObservedJournal(shared)
    with journal.subscribe() as listener:
        append(journal, 0)
        shared.append("r1", 1, 2.0, "judged", "{}")
        assert [position for position, _ in journal.after(0)] == [1, 2]
        append(journal, 2)
        assert [position for position, _ in journal.after(2)] == [3]
        news = await listener.next()
    assert news is not None
    assert [event.seq for event in news[1]] == [0, 1, 2]


async def test_what_could_not_be_recorded_is_not_told() -> None:
    journal = ObservedJournal(MemoryJournal())
    append(journal, 0)
    with journal.subscribe() as listener:
        with pytest.raises(Conflict):
            append(journal, 0)
        append(journal, 1)
        assert await listener.next() == (0, (("r1", 1, 1.0, "applied", "{}"),))


async def test_who_does_not_keep_up_loses_the_oldest_and_is_told_how_many() -> None:
    journal = ObservedJournal(MemoryJournal(), queue=2)
    with journal.subscribe() as listener:
        for seq in range(5):
            append(journal, seq)
        news = await listener.next()
        assert news is not None
        assert (news[0], [event.seq for event in news[1]]) == (3, [3, 4])
        append(journal, 5)
        assert (await listener.next() or (None,))[0] == 0
    assert journal.missed == 3


async def test_only_so_many_may_listen() -> None:
    journal = ObservedJournal(MemoryJournal(), listeners=1)
    with journal.subscribe(), pytest.raises(Unavailable), journal.subscribe():
        pass
    with journal.subscribe():
        assert journal.listeners == 1
    assert journal.listeners == 0


async def test_a_wait_ends_when_the_journal_is_closed_after_what_is_still_queued() -> None:
    journal = ObservedJournal(MemoryJournal())
    with journal.subscribe() as listener:
        waiting = asyncio.create_task(listener.next())
        await asyncio.sleep(0)
        append(journal, 0)
        journal.close()
        assert (await waiting or (None, ()))[1]
        assert await listener.next() is None
