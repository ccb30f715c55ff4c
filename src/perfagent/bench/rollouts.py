"""Whole rollouts by the product's own manager, effects, state machine and judge, on drawn fleets in virtual time.

Everything outside is drawn: the fleet and its noise, what the change does, replicas that restart by themselves, scrapes
that are lost, calls that fail, and when the agent dies. Another one takes over from the journal then. Nobody answers a
rollout that is held, so it is rolled back when its time has run out.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import count
from math import exp, log

import numpy as np

from perfagent import engines
from perfagent.bench.changes import MINUTE_S, Truth, kind_of
from perfagent.bench.cores import over_cores
from perfagent.bench.fleets import NOISES, Effect, Fleet
from perfagent.bench.invariants import half_applied, widened_unasked
from perfagent.bench.mortal import Died, Fate, MortalActuator, MortalJournal
from perfagent.bench.replicas import SHOWN, Circumstances, Replicas
from perfagent.clock import VirtualClock
from perfagent.domain.errors import Conflict
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.policy import Policy
from perfagent.domain.service import Service
from perfagent.domain.snapshot import Target
from perfagent.store.memory import Held, MemoryHistory, MemoryJournal, MemoryLease
from perfagent.workflows.asking import Asking
from perfagent.workflows.effects import Effects
from perfagent.workflows.events import Event, Expired, Requested
from perfagent.workflows.leadership import LEASE_S, Fenced, Leadership
from perfagent.workflows.machine import begin, step
from perfagent.workflows.manager import Manager
from perfagent.workflows.model import Pace, Phase, Request, Rollout
from perfagent.workflows.planning import Survey

SCRAPE_S = 20.0
"""Three scrapes in each window of a minute, as a plan wants."""
PAST_SCRAPE_S = MINUTE_S
"""Of the past the judge reads one snapshot in a stretch, so fewer are drawn."""
LONGEST_MIN = 1_200
"""Longer than fifty replicas can take, one at a time, out and back."""
HOLD_S = 1_800.0
"""How long a held rollout waits for the person who never comes; a day, unless somebody says otherwise, is drawn no
better by more minutes of the same."""

FEWEST, MOST = 2, 50
"""Replicas; as many fleets of less than ten as of more (log-uniform)."""
STARTS_S = (20.0, 60.0, 180.0)
OWN_RESTARTS_S = (float("inf"), 7 * 86_400.0, 86_400.0)
LOST_SCRAPES = (0.0, 0.02, 0.1)
"""One of each is drawn for a rollout. Assumptions: nothing was published that says how common they are."""
DIES, DEAF = 0.005, 0.001
"""Of each call: what changes something is the agent's death so often, and a replica does not answer so often. The
first is far more than in reality, so that many deaths are seen."""

UNASKED = Policy(approval="never")
"""What may alter answers would wait for a person otherwise."""
LAUNCH = LaunchConfig(("--max-num-seqs", "8"))
RELEASE = "0.26.0"


class End(StrEnum):
    """How a rollout ended."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    """For a reason that was seen."""
    HELD = "held"
    """Nothing was certain, nobody answered, and it was rolled back for that."""
    REFUSED = "refused"
    """Nothing was touched: the plan could not have decided."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of one rollout."""

    number: int
    kind: str
    truth: Truth
    replicas: int
    noise: str
    end: End
    percent: int
    """The stage that was the last."""
    widened: bool
    """Whether more replicas than those of the first stage ever had the change."""
    minutes: float
    """From the first replica that was touched to the decision, without what a held one waited."""
    changed_min: float
    """Minutes that replicas had the change, all of them together, until it was promoted or undone."""
    half_applied: int
    """Replicas that are neither exactly as before nor exactly as desired, as the rollout's end says."""
    broken: tuple[str, ...]
    """What must never happen, and did."""
    deaths: int
    """Of agents."""
    reason: str


def play_all(seed: int, numbers: Sequence[int], *, workers: int | None = None) -> Iterator[Ending]:
    """The rollouts of these numbers; the same on any number of workers."""
    return over_cores(partial(play, seed), numbers, few=2, workers=workers)


def play(seed: int, number: int) -> Ending:
    """The rollout of that number."""
    return asyncio.run(_World(np.random.default_rng([seed, number]), number).play())


class _World:
    """Everything outside the agent, which outlives it."""

    def __init__(self, rng: np.random.Generator, number: int) -> None:
        self._rng = rng
        self._number, self._kind = number, kind_of(number)
        size = round(exp(rng.uniform(log(FEWEST), log(MOST))))
        self._noise = list(NOISES)[rng.integers(len(NOISES))]
        self._clock = VirtualClock()
        drawn = Fleet(rng, size, NOISES[self._noise], Effect(), minutes=LONGEST_MIN)
        self._past_s = drawn.start_min * MINUTE_S
        targets = tuple(Target(f"drawn-{place:02d}", f"http://drawn-{place:02d}") for place in range(size))
        # every replica is started in its own way, so that a rollback has to give each back its own
        priors = {each.id: LaunchConfig((*LAUNCH.flags, f"--seed={place}")) for place, each in enumerate(targets)}
        around = Circumstances(rng.choice(STARTS_S), rng.choice(OWN_RESTARTS_S), rng.choice(LOST_SCRAPES))
        self._fleet = Replicas(rng, self._clock, drawn, self._kind.draw(rng), around, priors)
        self._service = Service(
            "drawn", "vllm", targets, actuator="drawn", policy=UNASKED, launch=LAUNCH, release=RELEASE
        )
        self._history, self._held = MemoryHistory(), Held()
        self._journal, self._fate = MemoryJournal(self._held), Fate(rng, dies=DIES, deaf=DEAF)
        self._lives = count(1)
        self._broken: set[str] = set()

    async def play(self) -> Ending:
        """From the request to the end."""
        while self._clock.now() - self._fleet.began_s < self._past_s:
            await self._pass_time(PAST_SCRAPE_S)
        agent, decided_s = None, self._clock.now()
        while True:
            try:
                agent = agent or self._agent()
                rollout = await self._turn(*agent)
            except Died:
                agent = None  # scrapes stop as well until the next one has the lease
                await self._pass_time(SCRAPE_S, scraping=False)
                continue
            if not rollout.active:
                return await self._ending(rollout, decided_s)
            if rollout.phase in (Phase.ROLLING_OUT, Phase.MONITORING):
                decided_s = self._clock.now() + SCRAPE_S
            await self._pass_time(SCRAPE_S)

    async def _turn(self, manager: Manager, lead: Leadership) -> Rollout:
        """What an agent does between two scrapes."""
        lead.renew()
        manager.refresh()
        if not manager.rollouts():
            manager.create(Request("drawn", "the benchmark", change=self._kind.change))
        await manager.tick()
        (rollout,) = manager.rollouts()
        if rollout.active:
            self._try_another(manager)
        return rollout

    def _try_another(self, manager: Manager) -> None:
        try:
            manager.create(Request("drawn", "somebody else", change=self._kind.change))
        except Conflict:
            return
        self._broken.add("a service had two rollouts at a time")

    def _agent(self) -> tuple[Manager, Leadership]:
        """A process that has just started and has the lease, since that of the one before has run out."""
        lead = Leadership(MemoryLease(f"agent {next(self._lives)}", self._clock, self._held), self._clock, LEASE_S)
        lead.renew()
        effects = Effects(
            clock=self._clock,
            history=self._history,
            services=lambda _: self._service,
            actuators={"drawn": Fenced(MortalActuator(self._fleet, self._fate), lead)},
            asking=Asking(self._fleet),
            survey=_survey,
            health=lambda _window, _launch: None,
            pace=Pace(hold_timeout_s=HOLD_S),
            scrape_s=SCRAPE_S,
        )
        return Manager(MortalJournal(self._journal, self._fate), effects, lead, new_id=lambda: "r1"), lead

    async def _pass_time(self, seconds: float, *, scraping: bool = True) -> None:
        await self._clock.sleep(seconds)
        self._fleet.pass_time(seconds)
        if scraping:
            self._history.add(self._fleet.scrape())

    async def _ending(self, rollout: Rollout, decided_s: float) -> Ending:
        manager, _ = self._agent()
        events = [event for _, event in manager.events(rollout.id)]
        if manager.get(rollout.id) != rollout:
            self._broken.add("another agent reads another state")
        if widened_unasked(rollout, events, self._fleet.changes):
            self._broken.add("it was widened without a verdict")
        first_s = min((at_s for at_s, _, _ in self._fleet.changes), default=decided_s)
        return Ending(
            self._number,
            self._kind.name,
            self._kind.truth,
            len(self._service.targets),
            self._noise,
            _end(rollout, events),
            rollout.history[-1].percent if rollout.history else 0,
            self._changed() > (len(rollout.history[0].targets) if rollout.history else 0),
            (decided_s - first_s) / MINUTE_S,
            self._fleet.changed_s / MINUTE_S,
            half_applied(rollout, self._fleet.priors, self._fleet.configs),
            tuple(sorted(self._broken)),
            self._fate.deaths,
            rollout.reason,
        )

    def _changed(self) -> int:
        return len({target for _, target, away in self._fleet.changes if away})


async def _survey(service: Service) -> Survey:
    """What the loop would find out: how the service is set, and what its pages carry."""
    return Survey(engines.effective(service.engine, service.launch, {}, {}, service.release), SHOWN, ())


def _end(rollout: Rollout, events: Sequence[Event]) -> End:
    if rollout.phase is Phase.COMPLETED:
        return End.PROMOTED
    if not rollout.touched:
        return End.REFUSED
    first, *rest = events
    if not isinstance(first, Requested):
        raise AssertionError("a rollout begins with a request")
    before = begin(rollout.id, first)
    for event in rest:
        if isinstance(event, Expired) and before.phase is Phase.HELD:
            return End.HELD
        before = step(before, event)
    return End.ROLLED_BACK
