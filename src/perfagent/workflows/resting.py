"""When a service's next rollout may begin, by its policy and the rollouts before."""

from collections.abc import Iterable
from datetime import UTC, datetime

from perfagent.domain.duration import duration
from perfagent.domain.policy import Policy
from perfagent.workflows.model import Phase, Rollout

DAY_S = 86_400.0


def must_rest(policy: Policy, before: Iterable[Rollout], now_s: float) -> str | None:
    """Why a service may not be changed now and when it may be again, or None where nothing stands against it.

    Only rollouts count that may have changed a replica. What ended in a rollback, and what a person took over from
    one, starts the cool-down.
    """
    changed = [rollout for rollout in before if rollout.touched]
    undone = [each.updated_at_s for each in changed if each.phase in (Phase.ROLLED_BACK, Phase.FAILED)]
    rested_s = max(undone, default=-policy.cooldown_s) + policy.cooldown_s
    if now_s < rested_s:
        rest = duration(policy.cooldown_s)
        return f"its last change was rolled back, and its policy wants {rest} of rest after that: until {_at(rested_s)}"
    begun = sorted(each.history[0].started_at_s for each in changed)
    most = policy.changes_per_day
    if most is not None and len(begun) >= most and now_s < (free_s := begun[-most] + DAY_S):
        return f"it was changed {most} times within 24 hours, which is all that its policy allows: until {_at(free_s)}"
    return None


def _at(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
