"""Burn rates over days of a service's past, as the loop keeps it."""

from collections.abc import Callable, Mapping

import pytest

from perfagent.clock import VirtualClock
from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.domain.service import Service, replica
from perfagent.domain.slo import Alert, ErrorBudget, Objective, SloMetric
from perfagent.domain.snapshot import Labels, Snapshot, Target
from perfagent.engines import effective
from support.api import Site, site

HOUR_S = 3600.0
KEPT = Objective(SloMetric.ERROR_RATE, 0.01)
URLS = ("http://r0", "http://r1")


class Counting:
    """Servers that end one request a second each, of which a share fails that depends on the hour.

    They tell when they started where `tells_start`; with `lifetime_h` they are started again so often.
    """

    def __init__(
        self, clock: VirtualClock, failing: Callable[[float], float], *, tells_start: bool, lifetime_h: float = 1e9
    ) -> None:
        self._clock = clock
        self._failing = failing
        self._tells_start = tells_start
        self._lifetime_h = lifetime_h
        self._began_s = clock.now()
        self._seen: dict[str, tuple[float, float, float]] = {}

    async def scrape(self, target: Target, engine: str | None) -> Snapshot:
        now_s = self._clock.now()
        at_s, good, bad = self._seen.get(target.id, (now_s, 0.0, 0.0))
        hour = (now_s - self._began_s) / HOUR_S
        started_s = self._began_s + hour // self._lifetime_h * self._lifetime_h * HOUR_S
        if at_s < started_s:
            at_s, good, bad = started_s, 0.0, 0.0
        share = self._failing(hour)
        good, bad = good + (now_s - at_s) * (1 - share), bad + (now_s - at_s) * share
        self._seen[target.id] = (now_s, good, bad)
        scalars: Mapping[Metric, Mapping[Labels, float]] = {Metric.FINISHED: {(): good}, Metric.FAILED: {(): bad}}
        return Snapshot(target.id, "vllm", now_s, scalars, started_at_s=started_s if self._tells_start else None)

    async def read_config(
        self, target: Target, snapshot: Snapshot, launch: LaunchConfig, release: str | None = None
    ) -> EffectiveConfig:
        return effective("vllm", launch, {}, {}, release)


async def after(at: Site, hours: float, *, every_s: float) -> ErrorBudget:
    """The standing after more hours of scrapes."""
    await at.turn(hours * HOUR_S, every_s=every_s)
    (budget,) = at.agent.burn_rates("chat")
    return budget


def chat(at: Site, *objectives: Objective) -> None:
    at.agent.register(Service("chat", "vllm", tuple(replica("chat", url) for url in URLS), objectives))


def firing(alerts: tuple[Alert, ...]) -> list[tuple[str, float]]:
    return [(alert.rule.severity.value, alert.rule.factor) for alert in alerts if alert.firing]


@pytest.mark.parametrize("tells_start", [True, False])
async def test_a_slow_leak_of_three_days_is_a_ticket_and_a_sudden_loss_a_page(tells_start: bool) -> None:
    clock = VirtualClock()

    def failing(hour: float) -> float:
        return 0.015 if hour <= 74 else 0.4 if hour <= 76 else 0.0

    async with site(clock=clock, scraper=Counting(clock, failing, tells_start=tells_start)) as at:
        chat(at, KEPT)
        leaking = await after(at, 74, every_s=300)
        assert firing(leaking.alerts) == [("ticket", 1)]
        slowest = leaking.alerts[-1]
        assert 70 * HOUR_S < slowest.long.covers_s <= 72 * HOUR_S
        assert slowest.long.events == 2 * slowest.long.covers_s
        assert slowest.short.covers_s == 6 * HOUR_S

        losing = await after(at, 2, every_s=60)
        assert firing(losing.alerts) == [("page", 14.4), ("page", 6), ("ticket", 3), ("ticket", 1)]

        healed = await after(at, 0.2, every_s=60)
        assert firing(healed.alerts) == [("page", 6), ("ticket", 3), ("ticket", 1)]
        assert healed.alerts[0].long.rate is not None
        assert healed.alerts[0].long.rate > 14.4
        long_ago = await after(at, 7, every_s=60)
        assert firing(long_ago.alerts) == []


@pytest.mark.parametrize("tells_start", [True, False])
async def test_a_restart_loses_no_more_events_than_a_short_window_has(tells_start: bool) -> None:
    clock = VirtualClock()
    scraper = Counting(clock, lambda _: 0.1, tells_start=tells_start, lifetime_h=13)
    async with site(clock=clock, scraper=scraper) as at:
        chat(at, KEPT)
        budget = await after(at, 24, every_s=300)
        for alert in budget.alerts:
            assert alert.long.rate == pytest.approx(10)
            assert alert.long.events >= 2 * (alert.long.covers_s - alert.rule.short_s)
