"""Doing what is due: each effect asks or tells the outside, and answers with the event that came of it, if any."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from perfagent.domain.errors import ActuatorFailed, InvalidInput, NotFound, Unavailable
from perfagent.domain.freeze import frozen
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.domain.quality import QualityVerdict
from perfagent.domain.service import Service
from perfagent.domain.snapshot import Snapshot
from perfagent.domain.verdict import Quiet, Verdict
from perfagent.domain.window import Window
from perfagent.engines import render
from perfagent.judge import Measured, decide
from perfagent.judge.criteria import SHARES
from perfagent.judge.measure import Span, ends, logs, measure, measure_stretches
from perfagent.judge.noise import MOST_STRETCHES, quiet
from perfagent.judge.quality import compare
from perfagent.judge.stage import lost_replicas, restarted_replicas
from perfagent.ports import Actuator, Clock, History
from perfagent.workflows import replicas
from perfagent.workflows.asking import Asking, in_pairs, in_turn, twice_in_turn
from perfagent.workflows.basis import Basis, basis_of, outdated
from perfagent.workflows.due import overdue
from perfagent.workflows.events import (
    Answered,
    Apply,
    AskBefore,
    CanaryLost,
    CapturePrior,
    DraftPlan,
    Drifted,
    Effect,
    Event,
    Expire,
    Expired,
    Frozen,
    Judge,
    Judged,
    NothingToDo,
    Outdated,
    Planned,
    PlanRefused,
    PriorStored,
    Probe,
    Probed,
    Restore,
    Thawed,
    Touching,
    Watch,
)
from perfagent.workflows.model import Captured, Pace, Plan, Rollout, least_past_s, stretch_s, window_s
from perfagent.workflows.observation import observation, past_length_s
from perfagent.workflows.planning import Surveyor, check_decidable, foreseen, make_plan, nothing_to_do, paced
from perfagent.workflows.sudden import SuddenHarm

LOOK_S = 5.0
"""Between two looks at replicas in which nothing happens; they take tens of seconds to start. An assumption."""
MOST_NOISE_REPLICAS = 20
"""Replicas by whose past a service's noise is reckoned: more tell little more, and each takes a while to read."""

HealthOf = Callable[[Window, LaunchConfig], float | None]
"""A replica's health score (0–100) from its window and how it is started; None if nothing could be measured."""


@dataclass(frozen=True, slots=True)
class Effects:
    """Runs effects against the outside."""

    clock: Clock
    history: History
    """What the loop scrapes; only read here."""
    services: Callable[[str], Service]
    """The service of that id; raises `NotFound`."""
    actuators: Mapping[str, Actuator]
    """By the name that services call them."""
    survey: Surveyor
    asking: Asking
    """Asks replicas for answers."""
    health: HealthOf
    prompts: tuple[str, ...] = ()
    """What is asked where a service has no prompts of its own; none here either: the set that ships."""
    pace: Pace = field(default_factory=Pace)
    """Defaults for what a request leaves open."""
    scrape_s: float = 5.0
    """How often the loop scrapes."""
    _seen: dict[str, SuddenHarm] = field(default_factory=dict, init=False, repr=False)
    """By rollout: what was seen of its stage so far."""
    _looked: dict[str, tuple[int, Effect, float]] = field(default_factory=dict, init=False, repr=False)
    """By rollout: after how many events what effect came to nothing, and when."""

    async def run(self, rollout: Rollout, effect: Effect) -> Event | None:
        """The event that came of the effect, or None for nothing new. Raises what the ports raise when it failed.

        What has come to nothing is looked at again after `LOOK_S`: every look asks every replica.
        """
        now_s = self.clock.now()
        seq, looked, at_s = self._looked.get(rollout.id, (None, None, 0.0))
        if (seq, looked) == (rollout.seq, effect) and at_s <= now_s < at_s + LOOK_S:
            return None
        event = await self._come_of(rollout, effect, now_s)
        if event is None:
            self._looked[rollout.id] = rollout.seq, effect, now_s
        return event

    async def _come_of(self, rollout: Rollout, effect: Effect, now_s: float) -> Event | None:
        match effect:
            case DraftPlan():
                return await self._draft(rollout)
            case CapturePrior():
                return await self._capture(rollout)
            case AskBefore():
                return self._ask_before(rollout)
            case Apply(targets):
                event = await replicas.apply(rollout, self._actuator(rollout.planned), targets, now_s)
                return (self._frozen(rollout.planned) or event) if isinstance(event, Touching) else event
            case Watch():
                return await self._watch(rollout) or self._thawed(rollout)
            case Probe(targets):
                return await self._watch(rollout) or self._probe(rollout, targets)
            case Judge():
                return await self._watch(rollout) or await self._judge(rollout)
            case Restore(targets):
                return await replicas.restore(rollout, self._actuator(rollout.planned), targets, now_s)
            case Expire():
                return Expired(now_s)

    def forget(self, rollout_id: str) -> None:
        """Keep nothing of a rollout that has ended."""
        self._seen.pop(rollout_id, None)
        self._looked.pop(rollout_id, None)
        self.asking.forget(rollout_id)

    async def _draft(self, rollout: Rollout) -> Event:
        request = rollout.request
        try:
            service = self.services(request.service)
            if service.actuator != "none" and service.actuator not in self.actuators:
                raise InvalidInput(f"there is no actuator {service.actuator!r} here")
            survey = await self.survey(service)
            pace = paced(request, service.policy, self.pace, self.scrape_s)
            plan = make_plan(request, service, survey, pace, self.prompts)
            if plan is not None:
                basis = () if plan.by_hand else await self._basis(plan)
                plan = replace(plan, outlook=foreseen(plan, self._quiet(plan)), basis=basis)
                if request.auto_rollout:
                    check_decidable(plan)
        except (InvalidInput, NotFound) as error:
            return PlanRefused(self.clock.now(), str(error))
        if plan is None:
            return NothingToDo(self.clock.now(), nothing_to_do(request, service, survey))
        return Planned(self.clock.now(), plan)

    async def _capture(self, rollout: Rollout) -> Event | None:
        plan, now_s = rollout.planned, self.clock.now()
        frozen = self._frozen(plan)
        if frozen is not None:
            return frozen
        if not self._past_is_known(plan, now_s):
            if overdue(rollout, now_s):
                return Expired(now_s)
            alone = len(plan.stages[0].targets) == len(plan.targets)
            if alone or now_s < (rollout.deadline_s or now_s) - plan.pace.ready_timeout_s:
                return None
        priors = await self._launches(plan)
        changed = outdated(plan.basis, basis_of(self.services(plan.service), priors))
        if changed is not None:
            return Outdated(self.clock.now(), changed)
        captured = (
            Captured(target, prior, render(plan.engine, prior, plan.change, plan.release))
            for target, prior in priors.items()
        )
        return PriorStored(self.clock.now(), tuple(captured), self._quiet(plan))

    async def _launches(self, plan: Plan) -> dict[str, LaunchConfig]:
        """How every replica is started now."""
        actuator = self._actuator(plan)
        return {target.id: await actuator.read(target) for target in plan.targets}

    async def _basis(self, plan: Plan) -> Basis:
        return basis_of(self.services(plan.service), await self._launches(plan))

    def _frozen(self, plan: Plan) -> Frozen | None:
        """That the policy, as it is now, lets no further replica be changed."""
        now_s = self.clock.now()
        told = frozen(self.services(plan.service).policy.freezes, now_s)
        return None if told is None else Frozen(now_s, f"frozen by the service's policy {told}")

    def _thawed(self, rollout: Rollout) -> Thawed | None:
        over = rollout.frozen and self._frozen(rollout.planned) is None
        return Thawed(self.clock.now()) if over else None

    def _past_is_known(self, plan: Plan, now_s: float) -> bool:
        """Whether all replicas were scraped for so long that they can be compared with themselves.

        Where some are left without the change, it is waited for no longer than that takes.
        """
        start_s, width_s = now_s - least_past_s(plan.pace), window_s(plan.pace)
        scraped = self._scraped([target.id for target in plan.targets], start_s - width_s)
        return len(scraped) == len(plan.targets) and all(window.start_s <= start_s + width_s for window in scraped)

    async def _watch(self, rollout: Rollout) -> CanaryLost | Drifted | None:
        if not rollout.touched:
            return None
        now_s = self.clock.now()
        lost = await replicas.watch(rollout, self._actuator(rollout.planned), now_s)
        if lost is not None or rollout.applied_at_s is None:
            return lost
        harm = self._sudden_harm(rollout, rollout.applied_at_s)
        return CanaryLost(now_s, *harm) if harm is not None else None

    def _sudden_harm(self, rollout: Rollout, since_s: float) -> tuple[str, str] | None:
        """The worst canary and why, where what was scraped since the last time makes harm certain."""
        edited = {edit.target for edit in rollout.edits}
        canary = [target for target in rollout.touched if target not in edited]
        everywhere = (target.id for target in rollout.planned.targets)
        others = [target for target in everywhere if target not in rollout.touched and target not in edited]
        seen = self._seen.get(rollout.id)
        if seen is None or seen.since_s != since_s:  # another stage, or another process before this one
            metrics = [criterion.metric for criterion in rollout.planned.criteria]
            seen = SuddenHarm(since_s, metrics, None if others else self._usual(rollout))
            self._seen[rollout.id] = seen
        return seen.add(*({each: self._fresh(seen, each) for each in arm} for arm in (canary, others)))

    def _fresh(self, seen: SuddenHarm, target: str) -> Sequence[Snapshot]:
        known_s = seen.read_to_s(target)
        return [snapshot for snapshot in self.history.since(target, known_s) if snapshot.at_s > known_s]

    def _usual(self, rollout: Rollout) -> dict[Metric, float]:
        """The shares of requests that failed or were rejected before anything was touched: one more than was seen."""
        plan, at_s = rollout.planned, rollout.captured_at_s or 0.0
        span_s = at_s - past_length_s(plan.pace), at_s
        past = [
            found for window in self._past(rollout.touched, span_s, stretch_s(plan.pace)) if (found := ends(window))
        ]
        requests = sum(sum(each.values()) for each in past)
        return {metric: (sum(each[metric] for each in past) + 1) / (requests + 2) for metric in SHARES}

    async def _judge(self, rollout: Rollout) -> Event:
        plan, shown = rollout.planned, observation(rollout)
        down = await replicas.down(rollout, self._actuator(plan))
        starting = [each for each in down if self.history.since(each, self.clock.now() - plan.pace.ready_timeout_s)]
        limit = f"{plan.pace.ready_timeout_s / 60:.0f} minutes"
        gone = [f"{each} has been down for more than {limit}" for each in down if each not in starting]
        metrics = [criterion.metric for criterion in plan.criteria]
        start_s, end_s = shown.windows[0][0], shown.windows[-1][1]
        baseline, canary = self._scraped(shown.baseline, start_s), self._scraped(shown.canary, start_s)
        others, same = (self._past(arm, shown.past_s, stretch_s(plan.pace)) for arm in (shown.baseline, shown.canary))
        before = (others, same) if shown.baseline else (same, [])
        measured = Measured(
            measure(baseline, canary, metrics, shown.windows),
            measure_stretches(*before, metrics, shown.past_s[0], stretch_s(plan.pace)),
            rollout.quiet,
            (*gone, *lost_replicas(baseline, canary, shown.windows, [t for t in shown.canary if t not in down])),
            restarted_replicas(baseline, canary, shown.windows, starting),
        )
        verdict = decide(measured, plan.criteria, rule=shown.rule, paired=bool(shown.baseline), look=shown.look)
        observed = [part for window in canary if (part := window.between(start_s, end_s)) is not None]
        scores = [self.health(window, rollout.captured_of(window.target).desired) for window in observed]
        worst = min((score for score in scores if score is not None), default=None)
        return Judged(self.clock.now(), verdict, worst)

    def _ask_before(self, rollout: Rollout) -> Answered | None:
        plan = rollout.planned
        asked = twice_in_turn(plan.targets, plan.asks.prompts)
        try:
            found = self.asking.answers(rollout.id, AskBefore(), plan.engine, asked)
        except Unavailable as error:
            return Answered(self.clock.now(), (), str(error))
        return None if found is None else Answered(self.clock.now(), in_pairs(found))

    def _probe(self, rollout: Rollout, targets: tuple[str, ...]) -> Probed | None:
        """What comes of answers that replicas with the change give; where they give none, that is what came of it."""
        plan = rollout.planned
        asked = in_turn([plan.target(each) for each in targets], plan.asks.prompts)
        try:
            found = self.asking.answers(rollout.id, Probe(targets), plan.engine, asked)
        except Unavailable as error:
            unasked = QualityVerdict(Verdict.HOLD, f"answers could not be asked for: {error}")
            return Probed(self.clock.now(), unasked)
        return None if found is None else Probed(self.clock.now(), compare(rollout.answers, found, plan.asks))

    def _quiet(self, plan: Plan) -> Quiet:
        """The noise of a service that nobody has touched for a while, by the past of some of its replicas."""
        length_s, now_s = stretch_s(plan.pace), self.clock.now()
        start_s = now_s - MOST_STRETCHES * length_s
        targets = [target.id for target in plan.targets[:MOST_NOISE_REPLICAS]]
        metrics = [criterion.metric for criterion in plan.criteria if criterion.metric not in SHARES]
        past = self._past(targets, (start_s, now_s), length_s)
        return quiet(logs(past, metrics, start_s, length_s), length_s)

    def _past(self, targets: Sequence[str], past_s: Span, length_s: float) -> list[Window]:
        """About one snapshot for each stretch of a time in the past, and all of the last one."""
        start_s, end_s = past_s
        found = []
        for target in targets:
            firsts, last = self.history.sampled(target, start_s, length_s), self.history.since(target, end_s - length_s)
            kept = {snapshot.at_s: snapshot for snapshot in (*firsts, *last) if snapshot.at_s <= end_s}
            if kept:
                found.append(Window(tuple(kept[at_s] for at_s in sorted(kept))))
        return found

    def _scraped(self, targets: Sequence[str], start_s: float) -> list[Window]:
        """What was scraped of these replicas after `start_s`: a scrape at that very time may have come before whatever
        happened then. A replica that was not scraped has no window."""
        scraped = (tuple(s for s in self.history.since(target, start_s) if s.at_s > start_s) for target in targets)
        return [Window(snapshots) for snapshots in scraped if snapshots]

    def _actuator(self, plan: Plan) -> Actuator:
        if plan.actuator not in self.actuators:
            raise ActuatorFailed(f"there is no actuator {plan.actuator!r} here")
        return self.actuators[plan.actuator]
