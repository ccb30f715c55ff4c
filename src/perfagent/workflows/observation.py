"""Who is compared with whom, and when: the arms of a stage and the windows of its observation."""

from dataclasses import dataclass

from perfagent.judge import StageRule
from perfagent.judge.measure import Span
from perfagent.workflows.model import Rollout

HALF_PERCENT = 50
"""From this wished share on there are enough canaries to prove that the change is not inferior."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the judge is shown."""

    rule: StageRule
    canary: tuple[str, ...]
    baseline: tuple[str, ...]
    """Replicas without the change; under `StageRule.OWN_PAST` the canary replicas themselves, in the past."""
    windows: tuple[Span, ...]
    past: tuple[Span, ...] = ()


def observation(rollout: Rollout) -> Observation:
    """The observation of a rollout that is being monitored, up to the time at which the judge is asked.

    With the whole fleet on the change, those who joined last are compared with themselves just before that: theirs is
    the most recent past without the change.
    """
    plan, stage = rollout.planned, rollout.planned.stages[rollout.stage]
    if rollout.observed_from_s is None or rollout.judge_at_s is None:
        raise AssertionError(f"rollout {rollout.id} is not being observed")
    most = plan.pace.windows * (1 + plan.pace.extensions)
    width_s = plan.pace.monitoring_s / plan.pace.windows
    windows = _cut(rollout.observed_from_s, rollout.judge_at_s, width_s)[-most:]
    others = tuple(target.id for target in plan.targets if target.id not in stage.targets)
    if others:
        rule = StageRule.NOT_INFERIOR if stage.percent >= HALF_PERCENT else StageRule.NO_HARM
        return Observation(rule, stage.targets, others, windows)
    joined, since_s = _joined_last(rollout)
    past = _cut(since_s - plan.pace.monitoring_s, since_s, width_s)
    return Observation(StageRule.OWN_PAST, joined, joined, windows, past)


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
