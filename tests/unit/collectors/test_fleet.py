"""A fleet is scraped on schedule, and its broken replicas do not hold up the others."""

from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import httpx
import pytest
import respx

from perfagent.clock import VirtualClock
from perfagent.collectors.fleet import Fleet
from perfagent.collectors.http import HttpScraper
from perfagent.collectors.schedule import Cadence
from perfagent.domain.snapshot import Snapshot, Target
from support.pages import FIXTURES

PAGE = (FIXTURES / "pages" / "vllm-0.26.0.prom").read_bytes()
REPLICAS = [(Target(f"r{i}", f"http://r{i}:8000"), "vllm") for i in range(8)]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def fleet(clock: VirtualClock) -> AsyncIterator[Fleet]:
    async with HttpScraper(clock) as scraper:
        yield Fleet(scraper, clock, Cadence(interval_s=10, longest_s=40), at_once=3)


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        router.get("http://r3:8000/metrics", name="r3").respond(content=PAGE)
        router.get(path="/metrics").respond(content=PAGE)
        yield router


async def watch(fleet: Fleet, clock: VirtualClock, seconds: float) -> list[Snapshot]:
    """Collect whenever something is due."""
    until, seen = clock.now() + seconds, list[Snapshot]()
    await fleet.collect(REPLICAS)
    while fleet.next_due_s() <= until:
        await clock.sleep(fleet.next_due_s() - clock.now())
        seen += await fleet.collect(REPLICAS)
    return seen


async def test_every_replica_is_scraped_once_per_interval(
    fleet: Fleet, clock: VirtualClock, wire: respx.MockRouter
) -> None:
    seen = await watch(fleet, clock, 60)
    assert len(wire.calls) == len(seen) == 8 * 6
    for target, _ in REPLICAS:
        times = [snapshot.at_s for snapshot in seen if snapshot.target == target.id]
        assert [round(b - a, 3) for a, b in pairwise(times)] == [10] * 5


async def test_replicas_are_not_scraped_all_at_once(fleet: Fleet, clock: VirtualClock, wire: respx.MockRouter) -> None:
    seen = await watch(fleet, clock, 10)
    assert len({snapshot.at_s for snapshot in seen}) == len(wire.calls) == 8


async def test_nothing_is_scraped_before_it_is_due(fleet: Fleet, wire: respx.MockRouter) -> None:
    assert await fleet.collect(REPLICAS) == []
    assert len(wire.calls) == 0


async def test_a_broken_replica_is_told_tried_less_often_and_forgiven(
    fleet: Fleet, clock: VirtualClock, wire: respx.MockRouter
) -> None:
    broken = wire["r3"].mock(side_effect=httpx.ConnectError("refused"))
    seen = await watch(fleet, clock, 100)
    assert "r3:8000/metrics cannot be reached: refused" in str(fleet.trouble("r3"))
    assert fleet.stale("r3")
    assert broken.call_count == 4
    assert sum(snapshot.target == "r2" for snapshot in seen) == 10
    assert fleet.trouble("r2") is None
    assert not fleet.stale("r2")
    wire["r3"].mock(return_value=httpx.Response(200, content=PAGE))
    seen = await watch(fleet, clock, 80)
    assert fleet.trouble("r3") is None
    assert sum(snapshot.target == "r3" for snapshot in seen) >= 4


class Settable(VirtualClock):
    def set_back(self, seconds: float) -> None:
        self._now -= seconds


@pytest.mark.usefixtures("wire")
async def test_a_clock_that_is_set_back_does_not_silence_the_fleet() -> None:
    clock = Settable()
    async with HttpScraper(clock) as scraper:
        fleet = Fleet(scraper, clock, Cadence(interval_s=10, longest_s=40))
        await watch(fleet, clock, 20)
        clock.set_back(3600)
        seen = await watch(fleet, clock, 20)
    assert {snapshot.target for snapshot in seen} == {target.id for target, _ in REPLICAS}


async def test_a_replica_that_is_gone_is_forgotten(fleet: Fleet, clock: VirtualClock, wire: respx.MockRouter) -> None:
    wire["r3"].mock(return_value=httpx.Response(500))
    await watch(fleet, clock, 10)
    await fleet.collect([])
    assert fleet.trouble("r3") is None
    assert fleet.stale("r2")
    assert fleet.next_due_s() > clock.now() + 1e9
