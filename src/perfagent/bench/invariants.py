"""What must hold of every rollout, told by what was really done to the replicas and not by what the rollout thinks."""

from collections.abc import Mapping, Sequence

from perfagent.domain.knob import LaunchConfig
from perfagent.domain.verdict import Verdict
from perfagent.workflows.events import Event, Judged
from perfagent.workflows.model import Phase, Rollout

Changed = tuple[float, str, bool]
"""When which replica was changed, and whether away from how it was at first."""


def half_applied(rollout: Rollout, priors: Mapping[str, LaunchConfig], configs: Mapping[str, LaunchConfig]) -> int:
    """Replicas that are not exactly as they were, or exactly as desired where the rollout is completed."""
    done = rollout.phase is Phase.COMPLETED and rollout.captured
    wanted = {each.target: each.desired for each in rollout.captured} if done else priors
    return sum(configs[target] != wanted[target] for target in priors)


def widened_unasked(rollout: Rollout, events: Sequence[Event], changes: Sequence[Changed]) -> bool:
    """Whether a replica was changed before the verdict that lets its stage begin."""
    promoted_s = [e.at_s for e in events if isinstance(e, Judged) and e.verdict.verdict is Verdict.PROMOTE]
    stages = rollout.planned.stages if rollout.plan is not None else ()
    return any(
        away and not any(target in stage.targets for stage in stages[: 1 + sum(s <= at_s for s in promoted_s)])
        for at_s, target, away in changes
    )
