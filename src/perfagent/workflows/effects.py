"""Doing what is due: each effect asks or tells the outside, and answers with the event that came of it, if any."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from perfagent.domain.errors import ActuatorFailed, InvalidInput, NotFound
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.service import Service
from perfagent.domain.snapshot import Snapshot
from perfagent.domain.window import Window, resets
from perfagent.engines import render
from perfagent.judge import judge_stage
from perfagent.ports import Actuator, Clock, History
from perfagent.workflows import replicas
from perfagent.workflows.events import (
    Apply,
    CanaryLost,
    CapturePrior,
    DraftPlan,
    Effect,
    Event,
    Expire,
    Expired,
    Judge,
    Judged,
    NothingToDo,
    Planned,
    PlanRefused,
    PriorStored,
    Restore,
    Watch,
)
from perfagent.workflows.machine import overdue
from perfagent.workflows.model import Captured, Pace, Plan, Rollout
from perfagent.workflows.observation import observation
from perfagent.workflows.planning import Surveyor, make_plan

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
    health: HealthOf
    pace: Pace = field(default_factory=Pace)
    """Defaults for what a request leaves open."""
    scrape_s: float = 5.0
    """How often the loop scrapes."""
    _seen: dict[str, dict[str, Snapshot]] = field(default_factory=dict, init=False, repr=False)
    """Rollout → replica → the latest snapshot that was looked at for restarts."""

    async def run(self, rollout: Rollout, effect: Effect) -> Event | None:
        """The event that came of the effect, or None for nothing new. Raises what the ports raise when it failed."""
        now_s = self.clock.now()
        match effect:
            case DraftPlan():
                return await self._draft(rollout)
            case CapturePrior():
                return await self._capture(rollout)
            case Apply(targets):
                return await replicas.apply(rollout, self._actuator(rollout.planned), targets, now_s)
            case Watch():
                return await self._watch(rollout, must_be_ready=False)
            case Judge():
                return await self._watch(rollout, must_be_ready=True) or self._judge(rollout)
            case Restore(targets):
                return await replicas.restore(rollout, self._actuator(rollout.planned), targets, now_s)
            case Expire():
                return Expired(now_s)

    def forget(self, rollout_id: str) -> None:
        """Keep nothing of a rollout that has ended."""
        self._seen.pop(rollout_id, None)

    async def _draft(self, rollout: Rollout) -> Event:
        request = rollout.request
        try:
            service = self.services(request.service)
            if service.actuator != "none" and service.actuator not in self.actuators:
                raise InvalidInput(f"there is no actuator {service.actuator!r} here")
            survey = await self.survey(service)
            plan = make_plan(request, service, survey, self.pace, self.scrape_s)
        except (InvalidInput, NotFound) as error:
            return PlanRefused(self.clock.now(), str(error))
        if plan is None:
            return NothingToDo(self.clock.now(), survey.reason or "the service already runs with this configuration")
        return Planned(self.clock.now(), plan)

    async def _capture(self, rollout: Rollout) -> Event | None:
        plan, now_s = rollout.planned, self.clock.now()
        if len(plan.stages[0].targets) == len(plan.targets) and not self._past_is_known(plan, now_s):
            return Expired(now_s) if overdue(rollout, now_s) else None
        actuator, captured = self._actuator(plan), []
        for target in plan.targets:
            prior = await actuator.read(target)
            captured.append(Captured(target.id, prior, render(plan.engine, prior, plan.change, plan.release)))
        return PriorStored(self.clock.now(), tuple(captured))

    def _past_is_known(self, plan: Plan, now_s: float) -> bool:
        """Whether the replicas were scraped for one observation, so that they can be compared with themselves.

        Asked where nobody is left without the change from the first stage on.
        """
        start_s, width_s = now_s - plan.pace.monitoring_s, plan.pace.monitoring_s / plan.pace.windows
        scraped = self._scraped([target.id for target in plan.targets], start_s - width_s)
        return len(scraped) == len(plan.targets) and all(window.start_s <= start_s + width_s for window in scraped)

    async def _watch(self, rollout: Rollout, *, must_be_ready: bool) -> CanaryLost | None:
        now_s, actuator = self.clock.now(), self._actuator(rollout.planned)
        lost = await replicas.watch(rollout, actuator, now_s, must_be_ready=must_be_ready)
        if lost is not None or rollout.applied_at_s is None:
            return lost
        restarted = self._restarted(rollout, rollout.applied_at_s)
        return CanaryLost(now_s, restarted, "restarted while it was observed") if restarted is not None else None

    def _restarted(self, rollout: Rollout, since_s: float) -> str | None:
        """A touched replica that restarted after `since_s`.

        Every snapshot is read once: it is asked every few seconds, and a rollout may be held for a day.
        """
        seen = self._seen.setdefault(rollout.id, {})
        for target in rollout.touched:
            known = seen.get(target)
            if known is not None and known.at_s <= since_s:
                known = None  # of an earlier stage
            fresh = self._scraped([target], known.at_s if known else since_s)
            if not fresh:
                continue
            window = Window((known, *fresh[0].snapshots)) if known else fresh[0]
            if resets(window):
                return target
            seen[target] = window.snapshots[-1]
        return None

    def _judge(self, rollout: Rollout) -> Event:
        shown = observation(rollout)
        start_s, end_s = shown.windows[0][0], shown.windows[-1][1]
        canary = self._scraped(shown.canary, start_s)
        verdict = judge_stage(
            self._scraped(shown.baseline, shown.past[0][0] if shown.past else start_s),
            canary,
            rollout.planned.criteria,
            rule=shown.rule,
            windows=shown.windows,
            past=shown.past,
            canaries=shown.canary,
        )
        observed = [part for window in canary if (part := window.between(start_s, end_s)) is not None]
        scores = [self.health(window, rollout.captured_of(window.target).desired) for window in observed]
        worst = min((score for score in scores if score is not None), default=None)
        return Judged(self.clock.now(), verdict, worst)

    def _scraped(self, targets: Sequence[str], start_s: float) -> list[Window]:
        """What was scraped of these replicas after `start_s`: a scrape at that very time may have come before whatever
        happened then. A replica that was not scraped has no window."""
        scraped = (tuple(s for s in self.history.since(target, start_s) if s.at_s > start_s) for target in targets)
        return [Window(snapshots) for snapshots in scraped if snapshots]

    def _actuator(self, plan: Plan) -> Actuator:
        if plan.actuator not in self.actuators:
            raise ActuatorFailed(f"there is no actuator {plan.actuator!r} here")
        return self.actuators[plan.actuator]
