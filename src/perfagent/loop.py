"""The tick: scrape → snapshot → window → finding → proposal → rollout, written once against the ports.

The agent keeps no windows of its own: snapshots go into the history, and a window is cut from it when somebody asks.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from perfagent.analysis import diagnose, of_service
from perfagent.domain.errors import NotFound, Unavailable
from perfagent.domain.finding import Diagnosis
from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.proposal import Advice, Proposal
from perfagent.domain.service import Service
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.domain.window import Window, lifetime, resets, since_restart
from perfagent.optimizers import advise, propose
from perfagent.ports import Actuator, Clock, Collector, History, Scraper, Services
from perfagent.workflows.manager import Manager

WINDOW_S = 300.0
"""How far back a live diagnosis looks: a few request lifetimes, and still about now."""
LONGEST_SLEEP_S = 1.0
"""The loop looks at its rollouts at least this often."""


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


class Agent:
    """Looks after services: scrapes them on schedule, answers what is wrong and what would help, drives rollouts."""

    def __init__(
        self,
        *,
        clock: Clock,
        scraper: Scraper,
        collector: Collector,
        history: History,
        services: Services,
        actuators: dict[str, Actuator],
        manager: Manager,
        window_s: float = WINDOW_S,
    ) -> None:
        self._clock = clock
        self._scraper = scraper
        self._collector = collector
        self._history = history
        self._actuators = actuators
        self._window_s = window_s
        self._configs: dict[str, tuple[Snapshot, EffectiveConfig]] = {}
        self.services = services
        self.manager = manager

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until told to stop."""
        while not stop.is_set():
            await self.tick()
            wait_s = self._collector.next_due_s() - self._clock.now()
            await self._clock.sleep(min(max(wait_s, 0.0), LONGEST_SLEEP_S))

    async def tick(self) -> None:
        """Scrape what is due, then let every rollout take the step that is due."""
        engines = {target.id: (service, target) for service in self.services.list() for target in service.targets}
        due = [(target, service.engine) for service, target in engines.values()]
        snapshots = await self._collector.collect(due)
        self._history.add(snapshots)
        for snapshot in snapshots:
            service, target = engines[snapshot.target]
            await self._learn_config(service, target, snapshot)
        await self.manager.tick()

    async def collect(self, service_id: str) -> Sequence[Snapshot]:
        """Scrape every replica of a service now. Raises the `Unavailable` of the first one that fails."""
        service = self.services.get(service_id)
        snapshots = []
        for target in service.targets:
            snapshot = await self._scraper.scrape(target, service.engine)
            self._history.add([snapshot])
            await self._learn_config(service, target, snapshot)
            snapshots.append(snapshot)
        return snapshots

    def window(self, target: Target) -> Window:
        """What a replica did lately, since its last restart. Raises `NotFound` when it was not scraped lately."""
        snapshots = tuple(self._history.since(target.id, self._clock.now() - self._window_s))
        if not snapshots:
            trouble = self._collector.trouble(target.id)
            raise NotFound(
                f"{target.id} was not scraped lately" + (f": {trouble}" if trouble else "; collect it first")
            )
        return lifetime(snapshots[0]) if len(snapshots) == 1 else since_restart(Window(snapshots))

    def config(self, target: Target) -> EffectiveConfig:
        """How a replica is set, as last read. Raises `NotFound` when it was never read."""
        if target.id not in self._configs:
            raise NotFound(f"{target.id} was not scraped yet; collect it first")
        return self._configs[target.id][1]

    def view(self, service_id: str) -> View:
        """A service right now. Replicas that were not scraped lately are left out; `NotFound` when none was."""
        service = self.services.get(service_id)
        windows, diagnoses, trouble = [], [], ""
        for target in service.targets:
            try:
                window, config = self.window(target), self.config(target)
            except NotFound as missing:
                trouble = str(missing)
                continue
            windows.append(window)
            diagnoses.append(diagnose(window, config))
        if not windows:
            raise NotFound(trouble)
        config = self._configs[windows[0].target][1]
        diagnosis = of_service(service.id, diagnoses)
        proposals = propose(diagnosis, config, service.engine)
        return View(service, tuple(windows), diagnosis, config, proposals, advise(diagnosis, proposals))

    async def _learn_config(self, service: Service, target: Target, snapshot: Snapshot) -> None:
        """Read the settings anew when the server is new to us, was started again, or was last asked a window ago."""
        known = self._configs.get(target.id)
        if known is not None and not self._outdated(known[0], snapshot):
            return
        launch = await self._launch(service, target)
        config = await self._scraper.read_config(target, snapshot, launch)
        self._configs[target.id] = (snapshot, config)

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
