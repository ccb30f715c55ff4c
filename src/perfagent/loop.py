"""The tick: scrape → snapshot → window → finding → proposal → rollout, written once against the ports.

The agent keeps no windows of its own: snapshots go into the history, and a window is cut from it when somebody asks.
Of several agents on one store the one with the lease scrapes and acts. The others stand by: they read what it records,
answer the same questions, and take down what people say.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from perfagent import engines
from perfagent.analysis import (
    BURN_RULES,
    check_measurable,
    diagnose,
    error_budget,
    of_service,
    service_slo_status,
)
from perfagent.analysis.drift import config_drifts, drifts, enough_past
from perfagent.domain.drift import Drifts
from perfagent.domain.errors import Conflict, InvalidInput, NotFound, NotScraped, Unavailable
from perfagent.domain.finding import Cause, Diagnosis
from perfagent.domain.knob import Change, EffectiveConfig, LaunchConfig
from perfagent.domain.proposal import Advice, Proposal
from perfagent.domain.service import Service, check_service, replica
from perfagent.domain.slo import BurnRule, ErrorBudget, Objective
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.domain.window import Window, lifetime, resets, since_restart
from perfagent.forecast import Load, Prediction
from perfagent.foresight import Foresight, Replica
from perfagent.optimizers import THOROUGH, TUNABLE, Effort, advise, propose
from perfagent.past import Past
from perfagent.ports import Actuator, Clock, Collector, History, Journal, Knowledge, Prober, Scraper, Services
from perfagent.watch import Watch
from perfagent.workflows.asking import Asking
from perfagent.workflows.effects import Effects
from perfagent.workflows.leadership import Fenced, Leadership
from perfagent.workflows.ledger import Entry, entries, promoted, widening
from perfagent.workflows.manager import Manager
from perfagent.workflows.model import Pace, Request, Rollout
from perfagent.workflows.planning import Survey

_LOG = logging.getLogger(__name__)

WINDOW_S = 300.0
"""How far back a live diagnosis looks: a few request lifetimes, and still about now."""
LONGEST_SLEEP_S = 1.0
"""The loop looks at its rollouts at least this often."""

STALLED_S = 60.0
"""Longer than any tick: scrapes end within seconds, and an actuator answers before a replica is ready."""
CONFIGS_AT_ONCE = 20
"""Replicas whose settings are read at the same time; each is asked for a few pages, over a hundred connections."""
MOST_SERVICES = 1000
"""A bound on what callers can make the agent keep; a fleet has a few dozen."""


@dataclass(frozen=True, slots=True)
class View:
    """A service right now: what is wrong, how its replicas are set, and what would help."""

    service: Service
    windows: tuple[Window, ...]
    diagnosis: Diagnosis
    config: EffectiveConfig
    """The first replica's; replicas of one service are set alike unless a rollout is under way."""
    proposals: tuple[Proposal, ...]
    advice: tuple[Advice, ...]
    basis: str = "rules of thumb"
    """Who says so: rules of thumb, or the twin; where it could not be asked, why."""

    def answer_to(self, cause: Cause) -> str | None:
        """What to do about a cause, in words: the first proposal, or the advice where no change helps."""
        said = [each.description for each in self.proposals if each.cause is cause]
        said += [each.text for each in self.advice if each.cause is cause]
        return said[0] if said else None


@dataclass(frozen=True, slots=True)
class _Learned:
    """How a replica was set when this snapshot was taken."""

    service: Service
    """The replica's, as it was registered then: another agent may have been told otherwise since."""
    snapshot: Snapshot
    config: EffectiveConfig
    launch: LaunchConfig


@dataclass(frozen=True, slots=True)
class Ticks:
    """How the loop is getting on."""

    count: int = 0
    total_s: float = 0.0
    """Seconds spent in all of them together."""
    last_at_s: float | None = None
    """When the last one ended, on the monotonic clock; None before the first."""


class Agent:
    """Looks after services: scrapes them on schedule, answers what is wrong and what would help, drives rollouts."""

    def __init__(
        self,
        *,
        clock: Clock,
        scraper: Scraper,
        prober: Prober,
        collector: Collector,
        history: History,
        services: Services,
        journal: Journal,
        lead: Leadership,
        actuators: Mapping[str, Actuator],
        pace: Pace | None = None,
        scrape_s: float = 15.0,
        window_s: float = WINDOW_S,
        knowledge: Knowledge,
        effort: Effort = THOROUGH,
        prompts: tuple[str, ...] = (),
    ) -> None:
        self._clock = clock
        self._scraper = scraper
        self._collector = collector
        self._history = history
        self._window_s = window_s
        self._configs: dict[str, _Learned] = {}
        self._learning = asyncio.Semaphore(CONFIGS_AT_ONCE)
        self._actuators = actuators
        self.services = services
        self._trouble = ""
        self.ticks = Ticks()
        self.watch = Watch()
        self.lead = lead
        self._past = Past(history)
        self._asking = Asking(prober)
        effects = Effects(
            clock=clock,
            history=history,
            services=services.get,
            actuators={name: Fenced(actuator, lead) for name, actuator in actuators.items()},
            survey=self._survey,
            asking=self._asking,
            health=_health,
            prompts=prompts,
            pace=pace or Pace(),
            scrape_s=scrape_s,
        )
        self.manager = Manager(journal, effects, lead)
        self._foresight = Foresight(knowledge, effort, lambda: widening(self.ledger()))

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until told to stop, then let another agent act.

        A turn that fails is logged and told by `degradations`, and the next is tried.
        """
        keeping = asyncio.create_task(self.lead.keep())
        try:
            await self._turn(stop)
        finally:
            keeping.cancel()
            self._asking.close()
            self.lead.release()

    async def _turn(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.tick()
            except Exception as error:
                told = f"the loop's last turn failed: {str(error) or type(error).__name__}"
                if told != self._trouble:
                    _LOG.exception("a turn of the loop failed")
                self._trouble = told
                wait_s = LONGEST_SLEEP_S
            else:
                self._trouble = ""
                scraping = self.lead.token is not None
                wait_s = self._collector.next_due_s() - self._clock.now() if scraping else LONGEST_SLEEP_S
            await self._clock.sleep(min(max(wait_s, 0.0), LONGEST_SLEEP_S))

    async def tick(self) -> None:
        """Scrape what is due, look at the service that is due, then let every rollout take the step that is due.

        An agent that stands by reads what was scraped instead, and takes no steps. Settings of one replica that cannot
        be learned hold up nothing; what was unforeseen about it is raised last.
        """
        began_s = self._clock.monotonic()
        if self.lead.token is None:
            self.lead.renew()
        self.manager.refresh()
        services = {service.id: service for service in self.services.list()}
        known = {target.id: (service, target) for service in services.values() for target in service.targets}
        look_at = self.watch.due(services, self.now())
        if self.lead.token is not None:
            snapshots = await self._collector.collect([(target, service.engine) for service, target in known.values()])
            self._history.add(snapshots)
        else:
            snapshots = self._scraped_by_others(services[look_at]) if look_at is not None else ()
        learned = await asyncio.gather(
            *(self._learn_config(*known[snapshot.target], snapshot) for snapshot in snapshots), return_exceptions=True
        )
        if look_at is not None:
            self._look(look_at)
        await self.manager.tick()
        ended_s = self._clock.monotonic()
        self.ticks = Ticks(self.ticks.count + 1, self.ticks.total_s + ended_s - began_s, ended_s)
        for failure in learned:
            if failure is not None:
                raise failure

    def _scraped_by_others(self, service: Service) -> list[Snapshot]:
        """The newest snapshot of each replica; none of one that was not scraped lately."""
        start_s = self.now() - self._window_s
        found = (self._history.sampled(target.id, start_s, self._window_s) for target in service.targets)
        return [snapshots[-1] for snapshots in found if snapshots]

    def _look(self, service_id: str) -> None:
        """One service a turn, so that a large fleet holds nothing else up for long."""
        now_s = self.now()
        try:
            seen = self.view(service_id).diagnosis
        except (NotFound, NotScraped):
            seen = None
        self.watch.looked(service_id, seen, now_s)
        if seen is not None and self.lead.token is not None:  # what agents know is shared: one of them learns it
            self._foresight.learn(service_id, self._replicas(self.services.get(service_id)), now_s)

    def now(self) -> float:
        """Unix seconds on the agent's clock, which the demo runs faster than the wall's."""
        return self._clock.now()

    @property
    def actuators(self) -> tuple[str, ...]:
        """Names that a service may give as its actuator; with `none` the agent only tells."""
        return ("none", *self._actuators)

    def register(self, service: Service) -> bool:
        """Look after a service from now on, in place of the one with its id; True when it is new.

        Raises `InvalidInput` for a service that cannot be looked after, or an objective that its engine cannot tell;
        `Conflict` for other replicas, engine, actuator or flags while a rollout is under way, or too many services.
        """
        self._check(service)
        try:
            known = self.services.get(service.id)
        except NotFound:
            if len(self.services.list()) >= MOST_SERVICES:
                raise Conflict(f"{MOST_SERVICES} services are looked after already: delete one first") from None
            self.services.put(service)
            return True
        if not _runs_alike(known, service):
            self._must_rest(service.id, "what it runs cannot change now")
            for target in (*known.targets, *service.targets):
                self._configs.pop(target.id, None)
        self.services.put(service)
        return False

    def unregister(self, service_id: str) -> None:
        """Look after a service no longer. Raises `NotFound`, or `Conflict` while a rollout is under way."""
        service = self.services.get(service_id)
        self._must_rest(service_id, "abort it, or wait for its end")
        self.services.delete(service_id)
        for target in service.targets:
            self._configs.pop(target.id, None)
            self._past.forget(target.id)

    async def enrol(
        self,
        service_id: str,
        engine: str,
        url: str,
        *,
        launch: LaunchConfig | None = None,
        release: str | None = None,
        objectives: tuple[Objective, ...] | None = None,
    ) -> tuple[Snapshot, EffectiveConfig]:
        """Scrape one server now and look after it as a service of one replica; one that fails registers nothing.

        What was told before of a service with this id still holds, unless it is told anew; flags and release hold only
        for the same server. Raises like `register` and like a scrape; `Conflict` for a service of several replicas.
        """
        target = replica(service_id, url)

        def as_told() -> Service:
            """From what is known now: this is asked again after the scrape, during which others may have spoken."""
            try:
                known = self.services.get(service_id)
            except NotFound:
                known = Service(service_id, engine, (target,))
            if len(known.targets) > 1:
                raise Conflict(
                    f"{service_id} is a service of {len(known.targets)} replicas: it is changed as a service"
                )
            same = known.targets == (target,) and known.engine == engine
            return replace(
                known,
                engine=engine,
                targets=(target,),
                launch=launch if launch is not None else known.launch if same else LaunchConfig(),
                release=release if release is not None else known.release if same else None,
                objectives=objectives if objectives is not None else known.objectives,
            )

        asked = as_told()
        self._check(asked)
        snapshot = await self._scraper.scrape(target, engine)
        started = await self._launch(asked, target)
        config = await self._scraper.read_config(target, snapshot, started, asked.release)
        service = as_told()
        if not _runs_alike(service, asked):
            raise Conflict(f"{service_id} was changed while its server was asked: collect it again")
        self.register(service)
        self._history.add([snapshot])
        self._configs[target.id] = _Learned(service, snapshot, config, started)
        return snapshot, config

    def window(self, target: Target) -> Window:
        """What a replica did lately, since its last restart. Raises `NotScraped` when it was not scraped lately."""
        snapshots = tuple(self._history.since(target.id, self._clock.now() - self._window_s))
        if not snapshots:
            trouble = self.trouble(target)
            raise NotScraped(
                f"{target.id} was not scraped lately" + (f": {trouble}" if trouble else "; collect it first")
            )
        return lifetime(snapshots[0]) if len(snapshots) == 1 else since_restart(Window(snapshots))

    def config(self, target: Target) -> EffectiveConfig:
        """How a replica is set, as last read. Raises `NotScraped` when it was never read."""
        if target.id not in self._configs:
            raise NotScraped(f"{target.id} was not scraped yet; collect it first")
        return self._configs[target.id].config

    def trouble(self, target: Target) -> str | None:
        """Why a replica's last scrape on schedule failed, or None when it did not, or is not this agent's to make."""
        return self._collector.trouble(target.id) if self.lead.token is not None else None

    def view(self, service_id: str, *, engine: str | None = None, told: Change = ()) -> View:
        """A service right now, its configuration completed by what the caller tells of it.

        Replicas that were not scraped lately are left out. Raises `NotFound`, `NotScraped` when none was scraped
        lately, and `Conflict` where the caller takes it for another engine's.
        """
        service = self._service(service_id, engine)
        windows, diagnoses, trouble = [], [], ""
        for target in service.targets:
            try:
                window, config = self.window(target), self.config(target).told(told)
            except NotScraped as missing:
                trouble = str(missing)
                continue
            windows.append(window)
            diagnoses.append(diagnose(window, config))
        if not windows:
            raise NotScraped(trouble)
        config = self._configs[windows[0].target].config.told(told)
        diagnosis = of_service(service.id, diagnoses)
        proposals = propose(diagnosis, config, service.engine)
        return View(service, tuple(windows), diagnosis, config, proposals, advise(diagnosis, proposals))

    async def tuned(self, service_id: str, *, engine: str | None = None, told: Change = ()) -> View:
        """The same with proposals that the twin has played on the service's own traffic, as far as it can.

        Where a window does not tell enough, rules of thumb stand, and `basis` says why.
        """
        view = self.view(service_id, engine=engine, told=told)
        if TUNABLE.isdisjoint(finding.cause for finding in view.diagnosis.findings):
            return view
        try:
            replicas = self._replicas(view.service, told)
            before = promoted(self.manager.rollouts(), view.service.engine)
            tuned = await self._foresight.tune(
                service_id, replicas, view.diagnosis, view.config, view.service.objectives, before
            )
        except InvalidInput as reason:
            return replace(view, basis=f"rules of thumb; the twin was not asked: {reason}")
        advice = advise(view.diagnosis, tuned.proposals, tuned.replicas, tuned.held_back)
        return replace(view, proposals=tuned.proposals, advice=advice, basis="the twin")

    async def predict(self, service_id: str, change: Change, load: Load) -> Prediction:
        """What a change of settings or load would do to the service's busiest replica.

        Raises `NotFound`, `NotScraped`, and `InvalidInput` for a change that must not be made, with which the server
        would not start, or where the window does not tell enough.
        """
        view = self.view(service_id)
        if change:
            engines.check(view.service.engine, change, view.config)
        return await self._foresight.predict(service_id, self._replicas(view.service), change, load)

    def _replicas(self, service: Service, told: Change = ()) -> list[Replica]:
        """What is known of each replica that was scraped lately."""
        found = []
        for target in service.targets:
            known = self._configs.get(target.id)
            try:
                window = self.window(target)
            except NotScraped:
                continue
            if known is not None:
                found.append(Replica(window, known.config.told(told), known.launch, service.machine))
        return found

    def burn_rates(self, service_id: str) -> tuple[ErrorBudget, ...]:
        """How fast a service spends the error budget of each of its objectives. Raises `NotFound`."""
        service, now_s = self.services.get(service_id), self._clock.now()
        pasts: dict[BurnRule, list[Window]] = {}
        if any(objective.budget is not None for objective in service.objectives):
            for rule in BURN_RULES:
                past = (self._sampled(target, rule, now_s) for target in service.targets)
                pasts[rule] = [window for window in past if window is not None]
        return tuple(error_budget(objective, pasts, now_s) for objective in service.objectives)

    def _sampled(self, target: Target, rule: BurnRule, now_s: float) -> Window | None:
        """The rule's windows in few snapshots: where both begin, and the newest. Of one process no more are needed.

        Of a replica that was started again, or whose pages do not tell, there is one for every short window in the long
        one: what a restart between two of them loses is small.
        """
        for every_s in (rule.long_s - rule.short_s, rule.short_s):
            found = self._history.sampled(target.id, now_s - rule.long_s, every_s)
            window = Window(tuple(found)) if found else None
            if window is None or (all(each.started_at_s is not None for each in found) and not resets(window)):
                break
        return window

    def drift(self, service_id: str) -> Drifts:
        """What changed of late against the service's own past, and of its settings. Raises `NotFound`.

        While a rollout is under way, replicas are set differently on purpose, and their settings are not compared.
        """
        service = self.services.get(service_id)
        last_hour, began_s, past = self._past.hours(service.targets, self.now())
        told = engines.effective(service.engine, service.launch, {}, {}, service.release)
        rolling = self.manager.active(service_id) is not None
        in_force = {t.id: self._configs[t.id].config for t in service.targets if t.id in self._configs and not rolling}
        figures = drifts(last_hour, began_s, past)
        return Drifts(figures, config_drifts(told, in_force), len(past), enough_past(past))

    def ledger(self) -> list[Entry]:
        """Every forecast beside what came of it, oldest first."""
        return entries(self.manager.rollouts())

    def outcomes(self) -> list[Entry]:
        """The ledger of rollouts that have ended: nothing of it changes any more."""
        return entries(rollout for rollout in self.manager.rollouts() if not rollout.active)

    def roll_out(self, request: Request, *, engine: str | None = None) -> Rollout:
        """Begin a rollout at once; it is planned and run by the ticks that follow.

        Raises `InvalidInput` for a change that must not be made on this service, and `NotFound` or `Conflict` as the
        manager does, where the caller takes the service for another engine's, and where a server of it is part of
        another service whose rollout is under way.
        """
        service = self._service(request.service, engine)
        self._must_be_free(service)
        if request.change is not None:
            known = self._configs.get(service.targets[0].id)
            config = known.config if known is not None else EffectiveConfig({}, service.release)
            engines.check(service.engine, request.change, config)
        return self.manager.create(request)

    def stalled(self) -> str | None:
        """Why nothing is being looked after at the moment, or None when the loop turns."""
        if self.ticks.last_at_s is None:
            return "the loop has not turned yet"
        silent_s = self._clock.monotonic() - self.ticks.last_at_s
        return f"the loop has not turned for {silent_s:.0f} s" if silent_s > STALLED_S else None

    def degradations(self) -> tuple[str, ...]:
        """What does not work as it should, in words: the loop, replicas that cannot be scraped, stuck rollouts."""
        reasons = [reason for reason in (self.stalled(), self._trouble) if reason]
        for service in self.services.list():
            failing = [trouble for target in service.targets if (trouble := self.trouble(target)) is not None]
            if failing:
                reasons.append(f"{service.id}: {len(failing)} of {len(service.targets)} not scraped: {failing[0]}")
        stuck = (rollout for rollout in self.manager.rollouts() if rollout.active and rollout.trouble)
        return (*reasons, *(f"rollout {rollout.id}: {rollout.trouble}" for rollout in stuck))

    def _service(self, service_id: str, engine: str | None) -> Service:
        service = self.services.get(service_id)
        if engine not in (None, service.engine):
            raise Conflict(f"{service_id} is a {service.engine} server, not {engine}")
        return service

    def _check(self, service: Service) -> None:
        check_service(service)
        check_measurable(service.engine, service.objectives)
        if service.actuator not in self.actuators:
            raise InvalidInput(f"unknown actuator {service.actuator!r}; known are {', '.join(self.actuators)}")

    def _must_rest(self, service_id: str, advice: str) -> None:
        active = self.manager.active(service_id)
        if active is not None:
            raise Conflict(f"service {service_id} has rollout {active.id} under way, which is {active.phase}: {advice}")

    def _must_be_free(self, service: Service) -> None:
        mine = {target.url for target in service.targets}
        for other in self.services.list():
            if other.id != service.id and not mine.isdisjoint(target.url for target in other.targets):
                self._must_rest(other.id, f"{service.id} has servers in common with it")

    async def _learn_config(self, service: Service, target: Target, snapshot: Snapshot) -> None:
        """Read the settings anew when the server is new to us, was started or registered again, or was last asked a
        window ago."""
        known = self._configs.get(target.id)
        if known is not None and _runs_alike(known.service, service) and not self._outdated(known.snapshot, snapshot):
            return
        async with self._learning:
            launch = await self._launch(service, target)
            config = await self._scraper.read_config(target, snapshot, launch, service.release)
        if self._is_as_before(service):
            self._configs[target.id] = _Learned(service, snapshot, config, launch)

    def _is_as_before(self, service: Service) -> bool:
        """Whether nobody deleted or changed the service while its replicas were asked."""
        try:
            return _runs_alike(self.services.get(service.id), service)
        except NotFound:
            return False

    def _outdated(self, read_at: Snapshot, now: Snapshot) -> bool:
        return now.at_s > read_at.at_s and (
            now.at_s - read_at.at_s > self._window_s or resets(Window((read_at, now))) > 0
        )

    async def _launch(self, service: Service, target: Target) -> LaunchConfig:
        """The flags the replica runs with: its actuator knows best, else what somebody told us."""
        actuator = self._actuators.get(service.actuator)
        if actuator is None:
            return service.launch
        try:
            return await actuator.read(target)
        except Unavailable:
            return service.launch

    async def _survey(self, service: Service) -> Survey:
        """What a plan is made from. Raises `Unavailable` as long as the service was not scraped."""
        try:
            # callers may keep the twin busy for long: a rollout does not wait for them
            view = self.view(service.id) if self._foresight.busy else await self.tuned(service.id)
        except NotScraped as missing:
            raise Unavailable(str(missing)) from missing
        carried = frozenset(
            metric
            for window in view.windows
            for snapshot in window.snapshots
            for metric in (*snapshot.scalars, *snapshot.histograms)
        )
        reason = "; ".join(advice.text for advice in view.advice) or "nothing holds this service back"
        statuses = tuple(service_slo_status(view.windows, each) for each in service.objectives)
        return Survey(view.config, carried, view.proposals, reason, statuses)


def _runs_alike(a: Service, b: Service) -> bool:
    return (a.engine, a.targets, a.actuator, a.launch, a.release) == (
        b.engine,
        b.targets,
        b.actuator,
        b.launch,
        b.release,
    )


def _health(window: Window, launch: LaunchConfig) -> float | None:
    config = engines.effective(window.engine, launch, window.snapshots[-1].info, {})
    return diagnose(window, config).health
