"""Who is compared with whom, and when: the arms of a stage and the windows of its observation."""

from collections.abc import Sequence
from dataclasses import dataclass

from perfagent.domain.verdict import Look, StageRule
from perfagent.judge.measure import Span
from perfagent.workflows.model import Pace, PlannedStage, Rollout, stretch_s, window_s

HALF_PERCENT, WHOLE_PERCENT = 50, 100
"""From half of the fleet on there are enough canaries to prove that the change is not inferior."""


LONGEST_PAST_S = 3600.0
"""How far back the same replicas are looked at before the change: long enough to average what passes, and recent."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the judge is shown."""

    rule: StageRule
    canary: tuple[str, ...]
    baseline: tuple[str, ...]
    """Replicas without the change; empty where there are none, and the canary's own past stands in."""
    windows: tuple[Span, ...]
    past_s: Span
    """Before any of these replicas was changed."""
    look: Look


def observation(rollout: Rollout) -> Observation:
    """The observation of a rollout that is being monitored, up to the time at which the judge is asked.

    With the whole fleet on the change, those who joined last are compared with themselves just before that: theirs is
    the most recent past without the change.
    """
    plan, stage = rollout.planned, rollout.planned.stages[rollout.stage]
    if rollout.observed_from_s is None or rollout.judge_at_s is None or rollout.captured_at_s is None:
        raise AssertionError(f"rollout {rollout.id} is not being observed")
    planned = 1 + plan.pace.extensions
    windows = _cut(rollout.observed_from_s, rollout.judge_at_s, window_s(plan.pace))[-planned * plan.pace.windows :]
    look = Look(min(planned, 1 + rollout.extensions), planned, len(plan.stages))
    others = tuple(target.id for target in plan.targets if target.id not in stage.targets)
    canary, since_s = (stage.targets, rollout.captured_at_s) if others else _joined_last(rollout)
    past_s = (since_s - past_length_s(plan.pace), since_s)
    return Observation(stage_rule(plan.stages, rollout.stage), canary, others, windows, past_s, look)


def stage_rule(stages: Sequence[PlannedStage], index: int) -> StageRule:
    """What a stage has to show: the first that is half of the fleet has to prove the change, and those after it watch
    once nobody is left without it."""
    if stages[index].percent < HALF_PERCENT:
        return StageRule.NO_HARM
    proven = any(stage.percent >= HALF_PERCENT for stage in stages[:index])
    return StageRule.WATCH if proven and stages[index].percent == WHOLE_PERCENT else StageRule.NOT_INFERIOR


def past_length_s(pace: Pace) -> float:
    """How much of the past is compared with: whole stretches, up to an hour, one observation at least."""
    return max(LONGEST_PAST_S, pace.monitoring_s) // stretch_s(pace) * stretch_s(pace)


def _joined_last(rollout: Rollout) -> tuple[tuple[str, ...], float]:
    """The replicas that the last widening added, and when it began."""
    before: tuple[str, ...] = ()
    joined, since_s = before, 0.0
    for record in rollout.history:
        added = tuple(target for target in record.targets if target not in before)
        if added:
            joined, since_s = added, record.started_at_s
        before = record.targets
    return joined, since_s


def _cut(start_s: float, end_s: float, width_s: float) -> tuple[Span, ...]:
    count = round((end_s - start_s) / width_s)
    return tuple((start_s + k * width_s, start_s + (k + 1) * width_s) for k in range(count))
