"""Our own Prometheus metrics: wrappers around ports, and figures read off the agent when somebody asks.

Nothing in the core counts for our sake. Series are bounded: labels are our own words, and services and replicas that
are looked after now.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from perfagent.domain.errors import (
    AgentError,
    BadAnswer,
    TimedOut,
    TooLarge,
    Unreachable,
    WrongEngine,
)
from perfagent.domain.finding import Cause
from perfagent.domain.incident import Stage
from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.loop import Agent
from perfagent.ports import Clock, Scraper
from perfagent.telemetry.events import ObservedJournal
from perfagent.telemetry.slo_metrics import BurnRateFigures
from perfagent.workflows.model import Phase

REFRESH_S = 30.0
"""Burn rates are worked out for our metrics at most this often, and of one service per reading: it costs time."""

_RESULTS: dict[type[AgentError], str] = {
    Unreachable: "unreachable",
    TimedOut: "timed_out",
    TooLarge: "too_large",
    WrongEngine: "wrong_engine",
    BadAnswer: "bad_answer",
}
_DURATIONS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Telemetry:
    """Our metrics in a registry of their own, so that several agents fit into one process; `clock` times scrapes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.registry = CollectorRegistry()
        self.last_scrape_s: dict[str, float] = {}
        """Replica → unix seconds of its last scrape that went well."""
        self.scrapes = Counter(
            "perfagent_scrapes", "Scrapes by engine and result.", ("engine", "result"), registry=self.registry
        )
        self.scrape_seconds = Histogram(
            "perfagent_scrape_duration_seconds",
            "Time to read one page, failed scrapes included.",
            ("engine",),
            buckets=_DURATIONS_S,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    def measured(self, scraper: Scraper) -> "MeasuredScraper":
        """The same scraper, counted and timed."""
        return MeasuredScraper(scraper, self._clock, self)

    def watch(self, agent: Agent, journal: ObservedJournal) -> None:
        """Add what can be read off an agent and its journal."""
        self.registry.register(_AgentFigures(agent, journal, self.last_scrape_s))
        self.registry.register(BurnRateFigures(agent, REFRESH_S))


class MeasuredScraper:
    """A `Scraper` around another one."""

    def __init__(self, scraper: Scraper, clock: Clock, telemetry: Telemetry) -> None:
        self._scraper = scraper
        self._clock = clock
        self._telemetry = telemetry

    async def scrape(self, target: Target, engine: str | None) -> Snapshot:
        """The replica right now."""
        began_s = self._clock.monotonic()
        result = "failed"
        try:
            snapshot = await self._scraper.scrape(target, engine)
            result = "ok"
        except AgentError as error:
            result = _RESULTS.get(type(error), result)
            raise
        finally:
            self._telemetry.scrapes.labels(engine or "auto", result).inc()
            self._telemetry.scrape_seconds.labels(engine or "auto").observe(self._clock.monotonic() - began_s)
        self._telemetry.last_scrape_s[target.id] = snapshot.at_s
        return snapshot

    async def read_config(
        self, target: Target, snapshot: Snapshot, launch: LaunchConfig, release: str | None = None
    ) -> EffectiveConfig:
        """How the replica is set."""
        return await self._scraper.read_config(target, snapshot, launch, release)


class _AgentFigures(Collector):
    """Read off the agent whenever the registry is."""

    def __init__(self, agent: Agent, journal: ObservedJournal, last_scrape_s: dict[str, float]) -> None:
        self._agent = agent
        self._journal = journal
        self._last_scrape_s = last_scrape_s

    def describe(self) -> Iterable[Metric]:
        """Nothing up front: reading the agent merely to learn names would diagnose services at start."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All figures, as they are now."""
        yield from self._services()
        yield from self._rollouts()
        ticks = self._agent.ticks
        yield SummaryMetricFamily(
            "perfagent_tick_duration_seconds", "Turns of the loop.", count_value=ticks.count, sum_value=ticks.total_s
        )
        acting = self._agent.lead.token is not None
        yield GaugeMetricFamily("perfagent_acting", "1 where this agent has the lease.", value=float(acting))
        yield GaugeMetricFamily("perfagent_event_listeners", "Who listens to events.", value=self._journal.listeners)
        yield CounterMetricFamily(
            "perfagent_events_missed", "Events dropped for slow listeners.", value=self._journal.missed
        )

    def _services(self) -> Iterator[Metric]:
        now_s = self._agent.now()
        services = {service.id: service for service in self._agent.services.list()}
        replicas = {target.id: service for service in services.values() for target in service.targets}
        scraping = self._agent.lead.token is not None
        for gone in self._last_scrape_s.keys() - (replicas.keys() if scraping else set()):
            del self._last_scrape_s[gone]
        ages = GaugeMetricFamily(
            "perfagent_scrape_age_seconds", "Since the last good scrape of a replica.", labels=("service", "target")
        )
        for target, at_s in self._last_scrape_s.items():
            ages.add_metric((replicas[target].id, target), max(0.0, now_s - at_s))
        yield ages
        yield GaugeMetricFamily("perfagent_services", "Services looked after.", value=len(services))
        findings = GaugeMetricFamily(
            "perfagent_findings", "1 for a cause that a service shows, at its last look.", labels=("service", "cause")
        )
        firing = GaugeMetricFamily(
            "perfagent_incidents", "1 for a cause that was there for long enough.", labels=("service", "cause")
        )
        health = GaugeMetricFamily("perfagent_health_score", "Health at the last look, 0 to 100.", labels=("service",))
        for service_id in services:
            diagnosis = self._agent.watch.diagnosis(service_id)
            if diagnosis is None:
                continue
            shown = {finding.cause for finding in diagnosis.findings}
            fires = {each.cause for each in self._agent.watch.incidents(service_id) if each.stage is Stage.FIRING}
            for cause in Cause:
                findings.add_metric((service_id, cause), float(cause in shown))
                firing.add_metric((service_id, cause), float(cause in fires))
            if diagnosis.health is not None:
                health.add_metric((service_id,), diagnosis.health)
        yield findings
        yield firing
        yield health

    def _rollouts(self) -> Iterator[Metric]:
        rollouts = GaugeMetricFamily("perfagent_rollouts", "Rollouts ever begun, by phase.", labels=("phase",))
        phases = [rollout.phase for rollout in self._agent.manager.rollouts()]
        for phase in Phase:
            rollouts.add_metric((phase,), phases.count(phase))
        yield rollouts
