"""A small fleet that restarts, fails, drifts and shows metrics, and what is needed to roll changes out on it.

`FleetDouble` is an `Actuator` in memory. Its replicas take time to start, crash where a configuration makes them, and
serve an even load whose latencies depend on their configuration alone, so a rollout's end is the same in every run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from inspect import iscoroutinefunction
from itertools import count
from math import inf
from typing import Any

from sqlalchemy import update

from perfagent.clock import VirtualClock
from perfagent.domain.errors import ActuatorFailed, BadAnswer, Unreachable
from perfagent.domain.histogram import Histogram
from perfagent.domain.knob import Change, Knob, KnobValue, LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.domain.policy import Policy
from perfagent.domain.quality import Answer, Quality
from perfagent.domain.service import Service
from perfagent.domain.share import Share
from perfagent.domain.snapshot import Labels, Snapshot, Target
from perfagent.domain.window import Window
from perfagent.engines import effective
from perfagent.ports import Actuator, History, Journal, Lease, Services
from perfagent.store.database import Database
from perfagent.store.journal import SqlJournal
from perfagent.store.lease import SqlLease
from perfagent.store.memory import Held, MemoryHistory, MemoryJournal, MemoryLease, MemoryServices
from perfagent.store.services import SqlServices
from perfagent.store.tables import LEASE
from perfagent.workflows.asking import Asking
from perfagent.workflows.effects import Effects
from perfagent.workflows.leadership import Fenced, Leadership
from perfagent.workflows.manager import Manager
from perfagent.workflows.model import Pace, Request, Rollout
from perfagent.workflows.planning import Survey

START_S = 1_800_000_000.0
RELEASE = "0.26.0"
BEFORE = LaunchConfig(("--max-num-seqs", "8", "--seed=7"), (("VLLM_LOGGING_LEVEL", "INFO"),))
MORE_AT_ONCE: Change = ((Knob.MAX_NUM_SEQS, 64),)
FEWER_BITS: dict[Knob, KnobValue] = {Knob.KV_CACHE_DTYPE: "fp8"}
"""A change that may alter answers."""
MEANS = {Metric.TTFT: 0.4, Metric.ITL: 0.03, Metric.E2E: 8.0}
REQUESTS_PER_S = 2.0
FOR_EVER_S = 1e9
"""A lease that no story outlasts."""


class FleetDouble:
    """Replicas that run in memory; an `Actuator` and a `Prober`."""

    def __init__(self, clock: VirtualClock, targets: tuple[Target, ...], *, start_delay_s: float = 20.0) -> None:
        self._clock = clock
        self._start_delay_s = start_delay_s
        self._runs = {target.id: _Run(BEFORE, clock.now() - 10_000) for target in targets}
        self.fails_to_start: Callable[[LaunchConfig], bool] = lambda _: False
        self.slowness: Callable[[LaunchConfig], float] = lambda _: 1.0
        """Configuration → factor on every latency."""
        self.failing: Callable[[LaunchConfig], float] = lambda _: 0.0
        """Configuration → share of its requests that fail."""
        self.answers: Callable[[LaunchConfig, str], str] = lambda _config, prompt: prompt
        """Configuration and prompt → answer, a token a character."""
        self.unreachable: set[str] = set()
        self.speechless: set[str] = set()
        """Replicas that answer no prompt."""
        self.asked: list[str] = []
        """Replicas that were asked for an answer, in order."""
        self.unscraped: set[str] = set()
        self.most_down = 0
        """The most replicas that were not serving at the same time."""
        self.applied: list[tuple[str, LaunchConfig]] = []
        """Every change that was really made, in order."""

    @property
    def configs(self) -> dict[str, LaunchConfig]:
        """How every replica is started."""
        return {target: run.config for target, run in self._runs.items()}

    async def read(self, target: Target) -> LaunchConfig:
        """How the replica is started."""
        self._reach(target)
        return self._runs[target.id].config

    async def apply(self, target: Target, config: LaunchConfig) -> None:
        """Restart the replica with this configuration, unless it runs with it."""
        self._reach(target)
        if self._runs[target.id].config != config:
            self.applied.append((target.id, config))
            self.restart(target.id, config)

    async def ready(self, target: Target) -> bool:
        """Whether it has started; raises where it never will."""
        self._reach(target)
        if self._failed(target.id):
            raise ActuatorFailed("exited with status 1")
        return self._serves(target.id)

    async def ask(self, target: Target, engine: str, prompt: str, tokens: int) -> Answer:
        """What the replica answers; raises where it says nothing."""
        self.asked.append(target.id)
        if target.id in self.speechless or not self._serves(target.id):
            raise BadAnswer(f"{target.url}/v1/completions answered 500")
        text = self.answers(self._runs[target.id].config, prompt)[:tokens]
        return Answer(tuple(text), (-0.1,) * len(text))

    def restart(self, target: str, config: LaunchConfig | None = None) -> None:
        """What a person or a crash does behind the agent's back."""
        old = self._runs[target]
        self._runs[target] = _Run(config or old.config, self._clock.now() + self._start_delay_s)
        self.most_down = max(self.most_down, sum(not self._serves(each) for each in self._runs))

    def restart_takes(self, target: str, seconds: float) -> None:
        """From now on, of a replica that is being started."""
        self._runs[target].up_at_s = self._clock.now() + seconds

    def scrape(self) -> list[Snapshot]:
        """A page of every replica that serves."""
        return [self._page(target) for target in self._runs if self._serves(target) and target not in self.unscraped]

    def _reach(self, target: Target) -> None:
        if target.id in self.unreachable:
            raise Unreachable(f"{target.url} refused the connection")

    def _failed(self, target: str) -> bool:
        return self._clock.now() >= self._runs[target].up_at_s and self.fails_to_start(self._runs[target].config)

    def _serves(self, target: str) -> bool:
        return self._clock.now() >= self._runs[target].up_at_s and not self._failed(target)

    def _page(self, target: str) -> Snapshot:
        run, now_s = self._runs[target], self._clock.now()
        new = REQUESTS_PER_S * (now_s - run.counted_to_s)
        run.counted_to_s = now_s
        run.ended += new
        run.failed += new * self.failing(run.config)
        run.weighted += new * self.slowness(run.config)
        scalars: dict[Metric, dict[Labels, float]] = {
            Metric.FINISHED: {(): run.ended - run.failed},
            Metric.FAILED: {(): run.failed},
            Metric.GENERATION_TOKENS: {(): 250 * run.ended},
        }
        histograms: dict[Metric, dict[Labels, Histogram]] = {
            metric: {(): Histogram((inf,), (run.ended,), mean_s * run.weighted)} for metric, mean_s in MEANS.items()
        }
        return Snapshot(target, "vllm", now_s, scalars, histograms, started_at_s=run.up_at_s)


class _Run:
    """One life of a replica's process."""

    def __init__(self, config: LaunchConfig, up_at_s: float) -> None:
        self.config = config
        self.up_at_s = up_at_s
        self.counted_to_s = up_at_s
        self.ended = 0.0
        self.failed = 0.0
        self.weighted = 0.0
        """Requests, each as many times as it was slow."""


@cache
def max_num_seqs(config: LaunchConfig) -> float | None:
    """The knob that the stories turn."""
    return effective("vllm", config, {}, {}, RELEASE).number(Knob.MAX_NUM_SEQS)


def service(
    replicas: int = 4,
    *,
    stages: tuple[int, ...] = (10, 50, 100),
    actuator: str = "fleet",
    policy: Policy | None = None,
) -> Service:
    """A vLLM service; its stages are the policy's where one is given."""
    targets = tuple(Target(f"chat-{k}", f"http://chat-{k}") for k in range(replicas))
    policy = policy or Policy(tuple(Share(percent) for percent in stages))
    return Service("chat", "vllm", targets, actuator=actuator, policy=policy, launch=BEFORE, release=RELEASE)


def asking(of: Service, prompts: tuple[str, ...]) -> Service:
    """The service with prompts of its own."""
    return replace(of, policy=replace(of.policy, quality=Quality(prompts)))


@dataclass
class World:
    """Everything outside the manager: it survives the manager's death."""

    service: Service = field(default_factory=service)
    start_delay_s: float = 20.0
    scrape_s: float = 10.0
    pace: Pace = field(default_factory=Pace)
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(START_S))
    database: Database | None = None
    """Where rollouts are journalled and leases kept; None is in memory."""
    history: History = field(default_factory=MemoryHistory)
    survey_fails: Exception | None = None
    health: Callable[[Window, LaunchConfig], float | None] = lambda _window, _config: 80.0

    def __post_init__(self) -> None:
        self.held = Held()
        self.journal: Journal = MemoryJournal(self.held) if self.database is None else SqlJournal(self.database)
        self.services: Services = MemoryServices() if self.database is None else SqlServices(self.database)
        self.register(self.service)
        self.fleet = FleetDouble(self.clock, self.service.targets, start_delay_s=self.start_delay_s)
        self._ids = count(1)
        self._lives = count(1)

    def register(self, service: Service) -> None:
        """What somebody says of the service from now on."""
        self.service = service
        self.services.put(service)

    def manager(self, *, deadly: "Deadly | None" = None) -> Manager:
        """A manager on this world, as after a start of the process when the lease of the one before has run out.

        So only the latest one acts. `deadly` kills it at a port call.
        """
        wrap: Callable[[Any], Any] = deadly.wrap if deadly is not None else lambda port: port
        self.lead = Leadership(wrap(self._lease(f"agent {next(self._lives)}")), self.clock, FOR_EVER_S)
        self.lead.renew()
        actuator: Actuator = Fenced(wrap(self.fleet), self.lead)
        effects = Effects(
            clock=self.clock,
            history=wrap(self.history),
            services=wrap(self.services).get,
            actuators={"fleet": actuator},
            survey=wrap(self).survey,
            asking=Asking(wrap(self.fleet)),
            health=self.health,
            pace=self.pace,
            scrape_s=self.scrape_s,
        )
        return Manager(wrap(self.journal), effects, self.lead, new_id=lambda: f"r{next(self._ids)}")

    def _lease(self, holder: str) -> Lease:
        """The lease, which has just run out."""
        if self.database is None:
            self.held.expires_s = 0.0
            return MemoryLease(holder, self.clock, self.held)
        with self.database.transaction() as connection:
            connection.execute(update(LEASE).values(expires_s=0.0))
        return SqlLease(self.database, holder)

    async def warm_up(self, seconds: float = 600.0) -> None:
        """A past without any change."""
        for _ in range(int(seconds / self.scrape_s)):
            await self.pass_time(self.scrape_s)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, scraping meanwhile."""
        for _ in range(max(1, round(seconds / self.scrape_s))):
            await self.clock.sleep(self.scrape_s)
            self.history.add(self.fleet.scrape())

    async def run(
        self,
        manager: Manager,
        rollout_id: str,
        *,
        until: Callable[[Rollout], bool] = lambda rollout: not rollout.active,
        tick_s: float = 10.0,
        ticks: int = 2_000,
    ) -> Rollout:
        """Tick until something is so. Raises `AssertionError` when it never comes to that."""
        for _ in range(ticks):
            await manager.tick()
            if until(manager.get(rollout_id)):
                return manager.get(rollout_id)
            await self.pass_time(tick_s)
        raise AssertionError(f"still {manager.get(rollout_id).phase}: {manager.get(rollout_id).reason}")

    async def survey(self, asked: Service) -> Survey:
        """What the loop would find out of the service."""
        if self.survey_fails is not None:
            raise self.survey_fails
        config = effective(asked.engine, asked.launch, {}, {}, asked.release)
        return Survey(config, frozenset({*MEANS, Metric.GENERATION_TOKENS, Metric.FAILED}), (), "nothing is wrong")


def request(
    *,
    change: dict[Knob, KnobValue] | None = None,
    requires_approval: bool = False,
    auto_rollout: bool = True,
    monitoring_s: float = 300.0,
    health_threshold: float | None = None,
    override: str = "",
) -> Request:
    """A request for the change of the stories, or for another one."""
    knobs = MORE_AT_ONCE if change is None else tuple(change.items())
    return Request("chat", "ann", requires_approval, auto_rollout, monitoring_s, health_threshold, knobs, override)


class Killed(BaseException):
    """The process ends here: nothing in it may catch this."""


class Deadly:
    """Wraps ports and kills the caller before or after the n-th call, counted over all of them (from 0).

    With `only`, calls of that name count and no others.
    """

    def __init__(self, at_call: int | None = None, *, after: bool = False, only: str | None = None) -> None:
        self.calls = 0
        self.ports: set[str] = set()
        """What was called, by its name."""
        self._at_call = at_call
        self._after = after
        self._only = only
        self._dead = False

    def wrap(self, port: Any) -> Any:
        """The port, deadly."""
        return _DeadlyPort(port, self)

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """One call of a port; who is dead makes none, though other tasks of the process were about to."""
        if self._dead:
            raise Killed
        self.ports.add(name)
        if self._only not in (None, name):
            yield
            return
        fatal = self.calls == self._at_call
        self.calls += 1
        self._dead = fatal and not self._after
        if self._dead:
            raise Killed
        yield
        if fatal:
            self._dead = True
            raise Killed


class _DeadlyPort:
    def __init__(self, port: Any, deadly: Deadly) -> None:
        self._port = port
        self._deadly = deadly

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        async def asynchronously(*args: Any, **more: Any) -> Any:
            with self._deadly.call(name):
                return await method(*args, **more)

        def synchronously(*args: Any, **more: Any) -> Any:
            with self._deadly.call(name):
                return method(*args, **more)

        return asynchronously if iscoroutinefunction(method) else synchronously
