"""The loop itself: what one replica, or one turn that fails, does to the rest."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from perfagent.clock import VirtualClock
from perfagent.domain.errors import Conflict, Unreachable
from perfagent.domain.knob import EffectiveConfig, Knob, LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.domain.service import Service, replica
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.engines import effective
from perfagent.workflows.model import Phase, Request
from support.api import Site, site
from support.rollouts import MORE_AT_ONCE


def chat(*urls: str, flags: tuple[str, ...] = ()) -> Service:
    return Service("chat", "vllm", tuple(replica("chat", url) for url in urls), launch=LaunchConfig(flags))


class OddScraper:
    """A scraper whose defects are set by the test."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.at_scrape: Callable[[Target], Exception | None] = lambda _: None
        self.at_config: Callable[[Target], Exception | None] = lambda _: None
        self.held = asyncio.Event()
        """Cleared: settings are not told before it is set."""
        self.held.set()
        self.asking = 0
        """Replicas whose settings are being asked for."""

    async def scrape(self, target: Target, engine: str | None) -> Snapshot:
        defect = self.at_scrape(target)
        if defect is not None:
            raise defect
        return Snapshot(target.id, "vllm", self._clock.now(), {Metric.RUNNING: {(): 1.0}}, {})

    async def read_config(
        self, target: Target, snapshot: Snapshot, launch: LaunchConfig, release: str | None = None
    ) -> EffectiveConfig:
        self.asking += 1
        await self.held.wait()
        self.asking -= 1
        defect = self.at_config(target)
        if defect is not None:
            raise defect
        return effective("vllm", launch, {}, {}, release)


async def test_a_turn_that_fails_is_told_and_the_next_one_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    scraper = OddScraper(clock)
    scraper.at_config = lambda _: OSError("disk full")
    async with site(clock=clock, scraper=scraper) as at:
        at.agent.register(chat("http://vllm:8000"))
        stop = asyncio.Event()
        running = asyncio.create_task(at.agent.run(stop))
        began_s = clock.now()
        while "the loop's last turn failed: disk full" not in at.agent.degradations():
            assert clock.now() < began_s + 100
            await asyncio.sleep(0)
        assert [record.levelno for record in caplog.records] == [logging.ERROR]

        scraper.at_config = lambda _: None
        scraper.at_scrape = lambda target: Unreachable(f"{target.url}: nobody there")
        turns = at.agent.ticks.count
        while at.agent.ticks.count < turns + 20:
            await asyncio.sleep(0)
        assert at.agent.degradations() == ("chat: 1 of 1 not scraped: http://vllm:8000: nobody there",)
        stop.set()
        await running


@pytest.mark.parametrize("where", ["at_scrape", "at_config"])
async def test_a_replica_with_an_unforeseen_defect_holds_up_no_other_and_no_rollout(where: str) -> None:
    clock = VirtualClock()
    scraper = OddScraper(clock)
    setattr(scraper, where, lambda target: ValueError("odd") if "odd" in target.url else None)
    async with site(clock=clock, scraper=scraper) as at:
        good, odd = replica("chat", "http://good"), replica("odd", "http://odd")
        at.agent.register(chat("http://good", flags=("--max-num-seqs=8",)))
        at.agent.register(Service("odd", "vllm", (odd,)))
        rollout = at.agent.roll_out(Request("chat", "ann", change=MORE_AT_ONCE))
        stop = asyncio.Event()
        running = asyncio.create_task(at.agent.run(stop))
        began_s, told = clock.now(), set[str]()
        while clock.now() < began_s + 60:
            await asyncio.sleep(0)
            told.update(at.agent.degradations())
        stop.set()
        await running
        assert at.agent.config(good).number(Knob.MAX_NUM_SEQS) == 8
        assert at.agent.manager.get(rollout.id).phase is not Phase.PENDING
        assert any("odd" in reason for reason in told)


async def asked_at_once(at: Site, scraper: OddScraper, count: int) -> asyncio.Task[None]:
    """A turn of the loop that waits until `count` replicas tell their settings."""
    scraper.held.clear()
    await at.clock.sleep(10)
    turn = asyncio.create_task(at.agent.tick())
    for _ in range(1000):
        await asyncio.sleep(0)
        if scraper.asking >= count:
            return turn
    raise AssertionError(f"only {scraper.asking} were asked")


async def test_replicas_that_are_slow_to_tell_their_settings_are_asked_at_the_same_time() -> None:
    clock = VirtualClock()
    scraper = OddScraper(clock)
    async with site(clock=clock, scraper=scraper) as at:
        at.agent.register(chat(*(f"http://r{k}" for k in range(10))))
        await at.agent.tick()
        turn = await asked_at_once(at, scraper, 10)
        scraper.held.set()
        await turn


async def test_settings_learned_for_a_service_that_was_changed_meanwhile_are_not_kept() -> None:
    clock = VirtualClock()
    scraper = OddScraper(clock)
    async with site(clock=clock, scraper=scraper) as at:
        target = replica("chat", "http://r")
        at.agent.register(chat("http://r", flags=("--max-num-seqs=8",)))
        await at.agent.tick()
        turn = await asked_at_once(at, scraper, 1)
        at.agent.register(chat("http://r", flags=("--max-num-seqs=64",)))
        scraper.held.set()
        await turn
        await at.turn(10)
        assert at.agent.config(target).number(Knob.MAX_NUM_SEQS) == 64


async def test_a_service_that_is_changed_while_it_is_collected_stays_as_it_was_changed() -> None:
    clock = VirtualClock()
    scraper = OddScraper(clock)
    async with site(clock=clock, scraper=scraper) as at:
        scraper.held.clear()
        collecting = asyncio.create_task(at.agent.enrol("chat", "vllm", "http://r0"))
        while not scraper.asking:
            await asyncio.sleep(0)
        at.agent.register(chat("http://r0", "http://r1"))
        scraper.held.set()
        with pytest.raises(Conflict):
            await collecting
        assert at.agent.services.get("chat") == chat("http://r0", "http://r1")


async def test_services_that_share_a_server_are_not_rolled_out_at_the_same_time() -> None:
    clock = VirtualClock()
    async with site(clock=clock, scraper=OddScraper(clock)) as at:
        at.agent.register(chat("http://r0", "http://r1"))
        at.agent.register(Service("one", "vllm", (replica("one", "http://r1/"),)))
        at.agent.register(Service("two", "vllm", (replica("two", "http://r2"),)))
        under_way = at.agent.roll_out(Request("chat", "ann", change=MORE_AT_ONCE))
        with pytest.raises(Conflict, match=f"{under_way.id} under way.*one has servers in common"):
            at.agent.roll_out(Request("one", "ann", change=MORE_AT_ONCE))
        at.agent.roll_out(Request("two", "ann", change=MORE_AT_ONCE))
