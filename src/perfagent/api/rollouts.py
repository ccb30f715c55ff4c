"""Rollouts as callers see them: workflows, with their plan, their stages and what was judged."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue, model_validator

from perfagent.api.fields import (
    EngineName,
    KnobValues,
    Model,
    Person,
    QualityIn,
    Reason,
    ServiceId,
    change,
    instant,
    instant_or_none,
)
from perfagent.api.views import ImprovementOut
from perfagent.domain.knob import Knob, KnobValue
from perfagent.domain.metric import Metric
from perfagent.domain.quality import QualityVerdict
from perfagent.domain.verdict import Effectiveness, Judgement, Outlook, Role, StageRule, StageVerdict, Verdict
from perfagent.judge.compare import promote_spent
from perfagent.workflows.codec import encode
from perfagent.workflows.events import Event
from perfagent.workflows.model import Approval, Phase, Plan, PlannedStage, Request, Rollout, StageRecord

LONGEST_MONITORING_S = 3600.0
"""A lone replica is compared with its own past in every stage, and the history reaches back six hours."""
MOST_EVENTS = 500
"""Events that one answer holds, the newest; a rollout has a few dozen."""


class WorkflowIn(Model):
    """What to roll out, and how."""

    instance_id: ServiceId | None = None
    service: ServiceId | None = None
    """The same as `instance_id`, which is a service of one replica: give one of them."""
    instance_type: EngineName | None = None
    requires_approval: bool = False
    """Wait for a person even where the plan itself needs no approval."""
    auto_rollout: bool = True
    """Go from stage to stage by verdict; otherwise a person promotes each stage."""
    monitoring_duration_seconds: float = Field(600.0, gt=0, le=LONGEST_MONITORING_S)
    """How long each stage is observed, after the warm-up."""
    health_threshold: float | None = Field(None, ge=0, le=100)
    """Roll back when the canary's health score falls below this."""
    config_changes: KnobValues | None = None
    """Left out: the agent finds the change itself."""
    requested_by: Person = "api"
    override: Reason | None = None
    """Why the policy's cool-down and its number of changes per day do not count this time."""

    @model_validator(mode="after")
    def _one_subject(self) -> "WorkflowIn":
        if len({self.instance_id, self.service} - {None}) != 1:
            raise ValueError("give instance_id or service")
        return self

    def request(self) -> Request:
        """The same in our words."""
        return Request(
            service=self.service or self.instance_id or "",
            requested_by=self.requested_by,
            requires_approval=self.requires_approval,
            auto_rollout=self.auto_rollout,
            monitoring_s=self.monitoring_duration_seconds,
            health_threshold=self.health_threshold,
            change=change(self.config_changes) or None,
            override=self.override or "",
        )


class Said(Model):
    """Who says so, and why: both go on record."""

    who: Person
    why: Reason


class ApproveIn(Said):
    """Agreement to a plan."""

    plan_hash: str | None = Field(None, max_length=64)
    """Of the plan that was looked at; refused when it is another one by now. Left out: the present one."""


class PromoteIn(Said):
    """A person's word in place of the judge's."""

    stage: int | None = Field(None, ge=1, le=100)
    """The stage (its percentage) that is meant, so that a repeat which comes late cannot promote the next one."""


class ApprovalOut(Model):
    """Who agreed to which plan."""

    who: str
    why: str
    at: datetime
    plan_hash: str

    @classmethod
    def of(cls, approval: Approval) -> "ApprovalOut":
        """An approval as callers see it."""
        return cls(who=approval.who, why=approval.why, at=instant(approval.at_s), plan_hash=approval.plan_hash)


class PlannedStageOut(Model):
    """A share of the fleet, and which replicas it is."""

    stage: int
    """What was wished, in percent."""
    actual_percent: float
    """What rounding to whole replicas made of it."""
    targets: tuple[str, ...]

    @classmethod
    def of(cls, stage: PlannedStage) -> "PlannedStageOut":
        """A stage as callers see it."""
        return cls(stage=stage.percent, actual_percent=stage.actual_percent, targets=stage.targets)


class OutlookOut(Model):
    """What a stage will be able to tell, reckoned before anything is touched."""

    stage: int
    rule: StageRule
    minutes_least: float
    """Until the judge looks first, once the replicas are ready."""
    minutes_most: float
    """Until it looks last; then a person is asked."""
    metric_name: Metric
    detectable: float
    """How much worse the metric must get so that nine of ten such changes are rolled back here, as a ratio."""
    hold_chance: float
    """Of a change that makes no difference."""
    weakest_metric: Metric
    """For whose sake that would most likely be."""
    assumed: bool
    """For want of a past, by assumptions about the noise."""

    @classmethod
    def of(cls, outlook: Outlook) -> "OutlookOut":
        """An outlook as callers see it."""
        return cls(
            stage=outlook.percent,
            rule=outlook.rule,
            minutes_least=outlook.shortest_s / 60,
            minutes_most=outlook.longest_s / 60,
            metric_name=outlook.metric,
            detectable=outlook.detectable,
            hold_chance=outlook.hold_chance,
            weakest_metric=outlook.weakest,
            assumed=outlook.assumed,
        )


class PlanOut(Model):
    """Exactly what will be done."""

    hash: str
    """What an approval is bound to."""
    description: str
    config_changes: dict[Knob, KnobValue]
    current_values: dict[Knob, KnobValue]
    """The same knobs when the plan was made, as far as known."""
    flags: tuple[str, ...]
    effects: tuple[ImprovementOut, ...]
    """The first is the improvement that the change is made for; each says where its range comes from."""
    risks: tuple[str, ...]
    needs_approval: bool
    asked_for: tuple[str, ...]
    """Why it needs approval."""
    actuator: str
    targets: tuple[str, ...]
    """In the order in which they change."""
    stages: tuple[PlannedStageOut, ...]
    outlook: tuple[OutlookOut, ...]
    """What each stage will be able to tell."""
    quality: QualityIn | None
    """What replicas are asked in each stage because the change may alter answers; null where it cannot."""

    @classmethod
    def of(cls, plan: Plan) -> "PlanOut":
        """A plan as callers see it."""
        return cls(
            hash=plan.hash,
            description=plan.description,
            config_changes=dict(plan.change),
            current_values=dict(plan.prior),
            flags=plan.flags,
            effects=tuple(ImprovementOut.of(effect) for effect in plan.effects),
            risks=plan.risks,
            needs_approval=plan.needs_approval,
            asked_for=plan.asked_for,
            actuator=plan.actuator,
            targets=tuple(target.id for target in plan.targets),
            stages=tuple(PlannedStageOut.of(stage) for stage in plan.stages),
            outlook=tuple(OutlookOut.of(each) for each in plan.outlook),
            quality=None if plan.quality is None else QualityIn.of(plan.quality),
        )


class QualityOut(Model):
    """What was said of the answers of replicas with the change; the answers themselves are in the events."""

    verdict: Verdict
    """`promote` or `hold`."""
    reason: str
    asked: bool
    """Whether there were answers."""
    tokens_differ: float | None
    """Share of the places at which another token followed the same text as before the change."""
    tokens_differ_by_chance: float | None
    """The same of answers that were both given before the change."""
    tokens_compared: int | None
    probability_shift: float | None
    """How far probabilities were off beyond chance (root mean square); null where the engine told none."""

    @classmethod
    def of(cls, quality: QualityVerdict) -> "QualityOut":
        """A verdict on answers as callers see it."""
        return cls(
            verdict=quality.verdict,
            reason=quality.reason,
            asked=quality.asked,
            tokens_differ=None if quality.differing is None else quality.differing.share,
            tokens_differ_by_chance=None if quality.usual is None else quality.usual.share,
            tokens_compared=None if quality.differing is None else quality.differing.places,
            probability_shift=quality.probability_shift,
        )


class StageOut(PlannedStageOut):
    """What happened in one stage."""

    started_at: datetime
    applied_at: datetime | None
    """When all of its replicas were ready."""
    ended_at: datetime | None
    verdict: Verdict | None
    """What followed, by the judge or a person; null while it runs."""
    reasons: tuple[str, ...]
    quality: tuple[QualityOut, ...]
    """What was said of the answers, each time that they were asked for."""

    @classmethod
    def of(cls, stage: StageRecord) -> "StageOut":  # type: ignore[override]
        """A stage's record as callers see it."""
        return cls(
            stage=stage.percent,
            actual_percent=stage.actual_percent,
            targets=stage.targets,
            started_at=instant(stage.started_at_s),
            applied_at=instant_or_none(stage.applied_at_s),
            ended_at=instant_or_none(stage.ended_at_s),
            verdict=stage.verdict,
            reasons=stage.reasons,
            quality=tuple(QualityOut.of(each) for each in stage.quality),
        )


class JudgementOut(Model):
    """One metric: canary / baseline, oriented so that more is worse."""

    metric_name: Metric
    role: Role
    margin: float
    """How much worse was still accepted, as a ratio."""
    result: Effectiveness
    likely: bool
    """Whether it is likely to be within its margin: no proof, but enough for a few more replicas."""
    ratio: float | None
    low: float | None
    high: float | None
    windows: int
    """Pairs of observation windows behind it."""
    reason: str

    @classmethod
    def of(cls, judgement: Judgement) -> "JudgementOut":
        """A judgement as callers see it."""
        return cls(
            metric_name=judgement.criterion.metric,
            role=judgement.criterion.role,
            margin=judgement.criterion.margin,
            result=judgement.result,
            likely=judgement.likely,
            ratio=judgement.ratio,
            low=judgement.low,
            high=judgement.high,
            windows=judgement.windows,
            reason=judgement.reason,
        )


class VerdictOut(Model):
    """One look of the judge at a stage."""

    stage: int
    verdict: Verdict
    reasons: tuple[str, ...]
    judgements: tuple[JudgementOut, ...]
    rule: StageRule | None
    """What the stage had to show; null in records of earlier releases."""
    look: int
    looks_planned: int
    chance_spent: float
    """Of promoting what is just as much worse as accepted, up to this look."""
    windows_left_out: int
    """At the beginning, because the canary's prefix cache was still filling."""

    @classmethod
    def of(cls, stage: StageRecord, look: StageVerdict) -> "VerdictOut":
        """A verdict as callers see it."""
        return cls(
            stage=stage.percent,
            verdict=look.verdict,
            reasons=look.reasons,
            judgements=tuple(JudgementOut.of(each) for each in look.judgements),
            rule=look.rule,
            look=look.look.number,
            looks_planned=look.look.planned,
            chance_spent=promote_spent(look.look),
            windows_left_out=look.warming,
        )


class EventOut(Model):
    """Something that happened to a workflow; `workflow_id` and `seq` together are unique."""

    workflow_id: str
    seq: int
    at: datetime
    kind: str
    body: JsonValue
    """As journalled."""

    @classmethod
    def of(cls, workflow_id: str, seq: int, event: Event) -> "EventOut":
        """An event as callers see it."""
        kind, body = encode(event)
        return cls(workflow_id=workflow_id, seq=seq, at=instant(event.at_s), kind=kind, body=json.loads(body))


class EditOut(Model):
    """A replica that somebody else has changed meanwhile."""

    target: str
    differs: str
    """How it runs in place of how it should."""


class WorkflowOut(Model):
    """A rollout as it stands."""

    workflow_id: str
    service: str
    status: Phase
    reason: str
    """Why it stands there."""
    trouble: str | None
    """What could not be done at the last attempt and is tried again."""
    created_at: datetime
    updated_at: datetime
    requested_by: str
    requires_approval: bool
    auto_rollout: bool
    monitoring_duration_seconds: float
    health_threshold: float | None
    override: str | None
    """Why the policy's cool-down and its number of changes per day did not count."""
    current_stage: int | None
    """The stage (its percentage) under way, or the last one; null before the first."""
    fleet_percent: float
    """Share of the replicas that may run the change now."""
    final_health_score: float | None
    """The canary's at the last verdict, 0–100."""
    waiting_for: Literal["approval", "decision", "freeze"] | None
    """What a person has to say before it goes on, or `freeze` where it goes on by itself when that is over."""
    drift: tuple[EditOut, ...]
    """What somebody else has changed: for which it is held, or which a rollback has left so."""
    unrestored: tuple[str, ...]
    """Changed replicas that a rollback has not seen restored yet; after a take-over, those left to a person."""
    deadline: datetime | None
    """When patience with the present status ends."""
    plan: PlanOut | None
    approval: ApprovalOut | None
    rollout_history: tuple[StageOut, ...]
    """One entry per stage that was begun."""

    @classmethod
    def of(cls, rollout: Rollout) -> "WorkflowOut":
        """A rollout as callers see it."""
        return cls(**_fields(rollout))


class WorkflowDetailOut(WorkflowOut):
    """A rollout with everything that was judged and that happened."""

    verdicts: tuple[VerdictOut, ...]
    events: tuple[EventOut, ...]
    """The newest, in order."""
    events_total: int

    @classmethod
    def of(  # type: ignore[override]
        cls, rollout: Rollout, events: Sequence[tuple[int, Event]]
    ) -> "WorkflowDetailOut":
        """A rollout and its events as callers see them."""
        return cls(
            **_fields(rollout),
            verdicts=tuple(VerdictOut.of(stage, look) for stage in rollout.history for look in stage.looks),
            events=tuple(EventOut.of(rollout.id, seq, event) for seq, event in events[-MOST_EVENTS:]),
            events_total=len(events),
        )


_WAITING = {
    Phase.AWAITING_APPROVAL: "approval",
    Phase.HELD: "decision",
}


def _fields(rollout: Rollout) -> dict[str, object]:
    request, stage = rollout.request, rollout.current_stage
    return {
        "workflow_id": rollout.id,
        "service": request.service,
        "status": rollout.phase,
        "reason": rollout.reason,
        "trouble": rollout.trouble or None,
        "created_at": instant(rollout.created_at_s),
        "updated_at": instant(rollout.updated_at_s),
        "requested_by": request.requested_by,
        "requires_approval": request.requires_approval,
        "auto_rollout": request.auto_rollout,
        "monitoring_duration_seconds": request.monitoring_s,
        "health_threshold": request.health_threshold,
        "override": request.override or None,
        "current_stage": None if stage is None else stage.percent,
        "fleet_percent": rollout.fleet_percent,
        "final_health_score": rollout.health,
        "waiting_for": "freeze" if rollout.frozen else _WAITING.get(rollout.phase),
        "drift": tuple(EditOut(target=edit.target, differs=edit.differs) for edit in rollout.edits or rollout.left),
        "unrestored": rollout.unrestored,
        "deadline": instant_or_none(rollout.deadline_s),
        "plan": None if rollout.plan is None else PlanOut.of(rollout.plan),
        "approval": None if rollout.approval is None else ApprovalOut.of(rollout.approval),
        "rollout_history": tuple(StageOut.of(record) for record in rollout.history),
    }
