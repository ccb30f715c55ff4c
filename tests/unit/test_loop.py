"""The loop itself: what a turn that fails does to the next ones."""

import asyncio
import logging

import pytest

from perfagent.clock import VirtualClock
from perfagent.domain.errors import Unreachable
from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.service import Service, replica
from perfagent.domain.snapshot import Snapshot, Target
from support.api import site


class OddScraper:
    """A scraper with a defect that can be mended."""

    defect: Exception | None = OSError("disk full")

    async def scrape(self, target: Target, engine: str | None) -> Snapshot:
        if self.defect is not None:
            raise self.defect
        raise Unreachable(f"{target.url}: nobody there")

    async def read_config(
        self, target: Target, snapshot: Snapshot, launch: LaunchConfig, release: str | None = None
    ) -> EffectiveConfig:
        raise AssertionError("nothing is ever scraped")


async def test_a_turn_that_fails_is_told_and_the_next_one_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    scraper, clock = OddScraper(), VirtualClock()
    async with site(clock=clock, scraper=scraper) as at:
        at.agent.register(Service("chat", "vllm", (replica("chat", "http://vllm:8000"),)))
        stop = asyncio.Event()
        running = asyncio.create_task(at.agent.run(stop))
        began_s = clock.now()
        while clock.now() < began_s + 100:
            await asyncio.sleep(0)
        reasons = at.agent.degradations()
        assert "the loop's last turn failed: disk full" in reasons
        assert [record.levelno for record in caplog.records] == [logging.ERROR]

        scraper.defect = None
        while at.agent.ticks.count < 20:
            await asyncio.sleep(0)
        assert at.agent.degradations() == ("chat: 1 of 1 not scraped: http://vllm:8000: nobody there",)
        stop.set()
        await running
