"""What the world has yet to be told or asked for a rollout to go on.

Nothing is remembered here: it follows from the state, so a rollout that is read back from its journal asks again.
"""

from perfagent.workflows.events import (
    Apply,
    AskBefore,
    CapturePrior,
    DraftPlan,
    Effect,
    Expire,
    Judge,
    Probe,
    Restore,
    Watch,
)
from perfagent.workflows.model import Phase, Rollout


def due(rollout: Rollout, now_s: float) -> Effect | None:
    """The effect whose turn it is, or None while only a person or time can tell."""
    if now_s < rollout.retry_at_s:
        return None
    match rollout.phase:
        case Phase.PENDING:
            return DraftPlan()
        case Phase.AWAITING_APPROVAL | Phase.HELD if overdue(rollout, now_s):
            return Expire()
        case Phase.HELD if rollout.touched or rollout.frozen:
            return Watch()
        case Phase.ROLLING_OUT if not rollout.captured:
            return CapturePrior()
        case Phase.ROLLING_OUT if rollout.must_ask_before:
            return AskBefore()
        case Phase.ROLLING_OUT:
            return Apply(rollout.planned.stages[rollout.stage].targets)
        case Phase.MONITORING if rollout.must_ask:
            return Probe(rollout.planned.stages[rollout.stage].targets)
        case Phase.MONITORING if rollout.judge_at_s is not None and now_s >= rollout.judge_at_s:
            return Judge()
        case Phase.MONITORING:
            return Watch()
        case Phase.ROLLING_BACK:
            return Restore(rollout.touched)
        case _:
            return None


def overdue(rollout: Rollout, now_s: float) -> bool:
    """Whether patience with the present phase is at its end."""
    return rollout.deadline_s is not None and now_s >= rollout.deadline_s
