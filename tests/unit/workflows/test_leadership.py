"""When an agent may act, by its own clock and by the store's."""

import asyncio
import logging

import pytest

from perfagent.clock import SharedClock, VirtualClock
from perfagent.domain.errors import StoreFailed
from perfagent.ports import Tenure
from perfagent.store.memory import Held, MemoryLease
from perfagent.workflows.leadership import Leadership

LEASE_S = 15.0


class OddLease:
    """A lease whose answers take time, tell another time, or fail."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.takes_s = 0.0
        self.ahead_s = 0.0
        self.failure: StoreFailed | None = None

    def claim(self, lease_s: float) -> Tenure:
        if self.failure is not None:
            raise self.failure
        self._clock._now += self.takes_s / 2
        shown_s = self._clock.now() + self.ahead_s
        self._clock._now += self.takes_s / 2
        return Tenure("one", 1, shown_s, lease_s)

    def release(self) -> None:
        if self.failure is not None:
            raise self.failure


async def test_who_could_not_renew_stops_acting_before_another_takes_over() -> None:
    clock, held = VirtualClock(), Held()
    one = Leadership(MemoryLease("one", clock, held), clock, LEASE_S)
    other = Leadership(MemoryLease("other", clock, held), clock, LEASE_S)
    one.renew()
    acting = []
    for _ in range(20):
        other.renew()
        acting.append((one.token, other.token))
        await clock.sleep(1)
    assert acting == [(1, None)] * 10 + [(None, None)] * 5 + [(None, 2)] * 5
    assert one.holder == "one"
    one.renew()
    assert (one.token, one.holder) == (None, "other")


async def test_an_agent_that_has_not_asked_does_not_act() -> None:
    clock = VirtualClock()
    assert Leadership(MemoryLease("one", clock), clock, LEASE_S).token is None


async def test_an_answer_counts_from_before_it_was_asked_for() -> None:
    clock = VirtualClock()
    lease = OddLease(clock)
    lease.takes_s = 9.0
    lead = Leadership(lease, clock, LEASE_S)
    lead.renew()
    assert lead.token == 1
    await clock.sleep(1.5)
    assert lead.token is None


async def test_the_stores_clock_is_read_off_its_answers() -> None:
    clock = VirtualClock(1_800_000_000.0)
    lease = OddLease(clock)
    lease.takes_s, lease.ahead_s = 0.5, 100.0
    lead = Leadership(lease, clock, LEASE_S)
    shared = SharedClock(clock, lambda: lead.offset_s)
    lead.renew()
    assert lead.offset_s == pytest.approx(100.0)
    assert shared.now() == pytest.approx(clock.now() + 100.0)
    before_s = shared.monotonic()
    lease.ahead_s = -50.0
    lead.renew()
    await shared.sleep(1.0)
    assert shared.now() == pytest.approx(clock.now() - 50.0)
    assert shared.monotonic() == pytest.approx(before_s + 1.5)


async def test_it_is_renewed_for_ever_and_what_fails_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    lease = OddLease(clock)
    lead = Leadership(lease, clock, LEASE_S)
    keeping = asyncio.create_task(lead.keep())

    async def until(acting: int | None) -> None:
        end_s = clock.now() + 100
        while lead.token != acting:
            assert clock.now() < end_s
            await asyncio.sleep(0)

    await until(1)
    lease.failure = StoreFailed("the disk is full")
    await until(None)
    lease.failure = None
    await until(1)
    keeping.cancel()
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert "the lease could not be renewed: the disk is full" in caplog.text


async def test_who_stands_by_acts_in_the_moment_in_which_the_lease_runs_out() -> None:
    clock, held = VirtualClock(), Held()
    one = Leadership(MemoryLease("one", clock, held), clock, LEASE_S)
    other = Leadership(MemoryLease("other", clock, held), clock, LEASE_S)
    one.renew()
    died_s = clock.now()
    other.renew()
    keeping = asyncio.create_task(other.keep())
    while other.token is None:
        assert clock.now() < died_s + 100
        await asyncio.sleep(0)
    keeping.cancel()
    assert held.expires_s == died_s + LEASE_S + LEASE_S  # its own began when the other's ended


def test_who_ends_lets_another_act_at_once() -> None:
    clock, held = VirtualClock(), Held()
    one = Leadership(MemoryLease("one", clock, held), clock, LEASE_S)
    other = Leadership(MemoryLease("other", clock, held), clock, LEASE_S)
    one.renew()
    one.release()
    other.renew()
    assert (one.token, other.token) == (None, 2)


def test_a_store_that_is_gone_keeps_nobody_from_ending(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    lease = OddLease(clock)
    lead = Leadership(lease, clock, LEASE_S)
    lead.renew()
    lease.failure = StoreFailed("the server is gone")
    lead.release()
    assert lead.token is None
    assert "the lease could not be released: the server is gone" in caplog.text
