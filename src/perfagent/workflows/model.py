"""What a rollout is: the request, the plan that was approved, and how far it has come.

Everything here is a value. A `Rollout` is never edited: `machine.step` folds events into it.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from math import isfinite

from perfagent.domain.errors import InvalidInput
from perfagent.domain.finding import Cause
from perfagent.domain.knob import Change, LaunchConfig
from perfagent.domain.proposal import Effect
from perfagent.domain.quality import AnswerPair, Quality, QualityVerdict
from perfagent.domain.snapshot import Target
from perfagent.domain.verdict import NO_PAST, Criterion, Outlook, Quiet, StageVerdict, Verdict
from perfagent.judge.noise import LEAST_MOODS, STRETCHES
from perfagent.workflows.basis import Basis


class Phase(StrEnum):
    """Where a rollout stands."""

    PENDING = "pending"
    AWAITING_APPROVAL = "awaiting_approval"
    ROLLING_OUT = "rolling_out"
    MONITORING = "monitoring"
    HELD = "held"
    COMPLETED = "completed"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing can follow."""
        return self in (Phase.COMPLETED, Phase.ROLLED_BACK, Phase.REJECTED, Phase.FAILED)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asked for."""

    service: str
    requested_by: str
    requires_approval: bool = False
    """Wait for a person even where the plan itself needs no approval."""
    auto_rollout: bool = True
    """Go from stage to stage by verdict; otherwise a person promotes each stage."""
    monitoring_s: float = 600.0
    """How long each stage is observed, after the warm-up."""
    health_threshold: float | None = None
    """Roll back when the canary's health score (0–100) falls below this."""
    change: Change | None = None
    """The change to roll out; None lets the agent find one."""
    override: str = ""
    """Why the policy's rest between changes does not count this time; empty where it does."""

    def __post_init__(self) -> None:
        if not (self.monitoring_s > 0 and isfinite(self.monitoring_s)):
            raise InvalidInput(f"a stage is monitored for a number of seconds above 0, not {self.monitoring_s}")
        if self.health_threshold is not None and not 0 <= self.health_threshold <= 100:
            raise InvalidInput(f"a health threshold lies between 0 and 100, not at {self.health_threshold}")


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A share of the fleet and exactly which replicas it is."""

    percent: int
    """What was wished."""
    actual_percent: float
    """What rounding to whole replicas made of it."""
    targets: tuple[str, ...]
    """Every replica that runs the change in this stage; those of the stage before come first."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long everything may take, and how much at a time."""

    monitoring_s: float = 600.0
    """Observation per stage; an inconclusive stage is extended by the same time."""
    warm_up_s: float = 60.0
    """Cut off before the observation: caches are cold and kernels not yet compiled after a restart."""
    windows: int = 10
    """Parts that `monitoring_s` is cut into for the judge."""
    extensions: int = 2
    """How often an inconclusive stage is extended before a person is asked."""
    ready_timeout_s: float = 900.0
    """For replicas to start; loading a large model's weights takes minutes."""
    approval_timeout_s: float = 86_400.0
    """How long an approval is waited for, and how long one counts that was given before a freeze."""
    hold_timeout_s: float = 86_400.0
    """How long a held rollout waits for a person before it is rolled back."""
    max_unready: int = 1
    """Replicas that are restarted at a time, on the way out as on the way back."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Exactly what will be done: this is what a person approves, and nothing else is ever done."""

    service: str
    engine: str
    release: str | None
    actuator: str
    """Name of the actuator that makes the change; `none` means by hand."""
    targets: tuple[Target, ...]
    """Every replica of the service, in the order in which they change."""
    change: Change
    prior: Change
    """The same knobs as they were when the plan was made, as far as known."""
    flags: tuple[str, ...]
    """How this engine and release spell the change."""
    description: str
    effects: tuple[Effect, ...]
    risks: tuple[str, ...]
    needs_approval: bool
    criteria: tuple[Criterion, ...]
    stages: tuple[PlannedStage, ...]
    pace: Pace
    cause: Cause | None = None
    """What the change answers; None for one that somebody asked for."""
    outlook: tuple[Outlook, ...] = ()
    """What each stage will be able to tell; empty in plans of releases that did not ask."""
    asked_for: tuple[str, ...] = ()
    """Why it needs approval; empty in plans of releases that did not say."""
    basis: Basis = ()
    """What it was made for; empty in plans of releases that did not say, and where a person makes the change."""
    quality: Quality | None = None
    """What replicas are asked because the change may alter answers; None where it cannot."""

    @property
    def asks(self) -> Quality:
        """What is asked by a plan that must ask."""
        if self.quality is None:
            raise AssertionError("this plan asks nothing")
        return self.quality

    @property
    def by_hand(self) -> bool:
        """Whether nothing but a person can make the change."""
        return self.actuator == "none"

    @property
    def hash(self) -> str:
        """What an approval is bound to: SHA-256 over the plan as canonical JSON."""
        canonical = json.dumps(_plain(asdict(self)), sort_keys=True, separators=(",", ":"))
        return sha256(canonical.encode()).hexdigest()

    def target(self, target_id: str) -> Target:
        """The replica of that id."""
        return next(target for target in self.targets if target.id == target_id)


@dataclass(frozen=True, slots=True)
class Approval:
    """Who agreed to which plan."""

    who: str
    why: str
    at_s: float
    plan_hash: str


@dataclass(frozen=True, slots=True)
class Captured:
    """How a replica was started before anything was touched, and how it shall be started with the change."""

    target: str
    prior: LaunchConfig
    desired: LaunchConfig


@dataclass(frozen=True, slots=True)
class Edit:
    """A replica that somebody else has changed while the rollout was under way."""

    target: str
    differs: str
    """How it runs in place of how it should."""

    def __str__(self) -> str:
        return f"{self.target} ({self.differs})"


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a rollout waits for a person, and where it goes on."""

    reason: str
    resume: Phase | None
    """The phase that `resume` returns to; None where nothing can be resumed (a change to be made by hand)."""
    frozen: bool = False
    """It waits for the end of a freeze, not for a person."""
    edits: tuple[Edit, ...] | None = None
    """What somebody else has changed, as last seen; None where it is not held for that."""


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What happened in one stage."""

    percent: int
    actual_percent: float
    targets: tuple[str, ...]
    started_at_s: float
    applied_at_s: float | None = None
    """When all of its replicas were ready; the warm-up follows, then the observation."""
    warm_up_s: float = 0.0
    """What was cut off before the observation."""
    ended_at_s: float | None = None
    verdict: Verdict | None = None
    """What followed from the stage, by the judge or by a person; None while it runs."""
    reasons: tuple[str, ...] = ()
    looks: tuple[StageVerdict, ...] = ()
    """Every verdict of the judge, the extended ones first, with the raw figures behind them."""
    quality: tuple[QualityVerdict, ...] = ()
    """What was said of the answers each time that they were asked for; empty where the plan asks for none."""

    @property
    def answers_are_as_before(self) -> bool:
        """Whether that is proven."""
        return bool(self.quality) and self.quality[-1].verdict is Verdict.PROMOTE


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as its events so far have made it."""

    id: str
    request: Request
    created_at_s: float
    updated_at_s: float
    phase: Phase = Phase.PENDING
    seq: int = 1
    """Events folded so far, which is the sequence number of the next one."""
    reason: str = ""
    """Why it is in this phase, for people."""
    plan: Plan | None = None
    approval: Approval | None = None
    captured: tuple[Captured, ...] = ()
    captured_at_s: float | None = None
    quiet: Quiet = NO_PAST
    """The service's noise before anything was touched, which the judge reckons with."""
    answers: tuple[AnswerPair, ...] = ()
    """To each prompt of the plan, before anything was touched."""
    asked: bool = False
    """Whether replicas with the change were asked since the present observation began."""
    stage: int = 0
    """Index into the plan's stages."""
    touched: tuple[str, ...] = ()
    """Replicas whose configuration we may have changed, in that order."""
    applied_at_s: float | None = None
    """When the current stage's replicas were all ready."""
    observed_from_s: float | None = None
    """Where the current observation starts (after the warm-up)."""
    judge_at_s: float | None = None
    """Where it ends and the judge is asked."""
    extensions: int = 0
    """How often the current stage has been extended."""
    deadline_s: float | None = None
    """When patience with the present phase ends; None where there is no limit."""
    hold: Hold | None = None
    restoring: tuple[str, ...] = ()
    """Replicas whose restoration has begun."""
    restoring_at_s: float | None = None
    """When the rollback began, then when its latest replicas were begun with."""
    restored: tuple[str, ...] = ()
    """Replicas that were read back as they were stored."""
    left: tuple[Edit, ...] = ()
    """Replicas that the rollback left as somebody else has set them."""
    attempts: int = 0
    """Failures in a row of what is due."""
    retry_at_s: float = 0.0
    trouble: str = ""
    """The last of these failures; empty when the last step went well."""
    health: float | None = None
    """The canary's health score (0–100) at the last verdict."""
    history: tuple[StageRecord, ...] = ()

    @property
    def active(self) -> bool:
        """Whether something may still follow."""
        return not self.phase.ended

    @property
    def planned(self) -> Plan:
        """The plan of a rollout that must have one."""
        if self.plan is None:
            raise AssertionError(f"rollout {self.id} has no plan while {self.phase}")
        return self.plan

    @property
    def must_ask_before(self) -> bool:
        """Whether replicas have to be asked for answers before anything is touched."""
        return self.planned.quality is not None and not self.answers and not self.touched

    @property
    def must_ask(self) -> bool:
        """Whether replicas with the change have to be asked now."""
        return self.planned.quality is not None and not self.asked and not self.history[-1].answers_are_as_before

    @property
    def current_stage(self) -> PlannedStage | None:
        """The stage that is under way or was the last one; None before the first."""
        return self.plan.stages[self.stage] if self.plan is not None and self.history else None

    @property
    def fleet_percent(self) -> float:
        """Share of the replicas that may run the change now."""
        if self.plan is None or self.phase is Phase.ROLLED_BACK:
            return 0.0
        return 100 * (len(self.touched) - len(self.restored)) / len(self.plan.targets)

    @property
    def unrestored(self) -> tuple[str, ...]:
        """Touched replicas that a rollback has not seen restored; what a person took over, where one did."""
        undone = self.phase in (Phase.ROLLING_BACK, Phase.FAILED)
        return tuple(target for target in self.touched if undone and target not in self.restored)

    @property
    def frozen(self) -> bool:
        """Whether it waits for the end of a freeze."""
        return self.hold is not None and self.hold.frozen

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What somebody else has changed, as far as it is told already."""
        return (self.hold.edits or ()) if self.hold is not None else ()

    @property
    def confirmed(self) -> frozenset[str]:
        """Replicas that were all seen to run the change, which they therefore do as long as nobody else sees to it."""
        return frozenset(
            target for record in self.history if record.applied_at_s is not None for target in record.targets
        )

    def captured_of(self, target_id: str) -> Captured:
        """The stored configuration of a replica."""
        return next(stored for stored in self.captured if stored.target == target_id)


def window_s(pace: Pace) -> float:
    """Length of one observation window."""
    return pace.monitoring_s / pace.windows


def stretch_s(pace: Pace) -> float:
    """Length of a stretch, which the past is cut into."""
    return pace.monitoring_s / STRETCHES


def least_past_s(pace: Pace) -> float:
    """How long a service must have been seen so that its past tells of its noise."""
    return LEAST_MOODS * stretch_s(pace)


def _plain(value: object) -> object:
    """The value with every whole number written in one way, so that a plan read back from JSON has the same hash."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
