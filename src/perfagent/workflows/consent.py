"""Why a person has to approve a change: what it may do to answers and objectives, and what the policy says."""

from collections.abc import Iterable

from perfagent.analysis.slo import needed
from perfagent.domain.knob import Change
from perfagent.domain.policy import Policy
from perfagent.domain.proposal import Effect, Proposal
from perfagent.domain.slo import Comparison, SloStatus
from perfagent.optimizers.search import SURE


def asked_for(
    policy: Policy,
    change: Change,
    altering: tuple[str, ...],
    proposal: Proposal | None,
    objectives: Iterable[SloStatus],
) -> tuple[str, ...]:
    """The reasons; nothing where it may go without.

    `altering` says which knobs may alter answers; `proposal` is the agent's, where it proposes just this change.
    """
    always = ("the policy asks for approval of every change",) if policy.approval == "always" else ()
    risks = (*altering, *_unsure(proposal, objectives))
    if not risks and proposal is not None and proposal.needs_approval:
        risks = ("it is proposed for a person to decide",)
    risky = () if policy.approval == "never" else risks
    return (*always, *risky, *policy.unlisted(change), *policy.beyond(change))


def _unsure(proposal: Proposal | None, objectives: Iterable[SloStatus]) -> tuple[str, ...]:
    """Why what is predicted of a change does not exclude that it harms.

    The twin says itself whether a change is surely for the better and keeps what holds today. Where only rules of thumb
    speak, an objective that holds today must hold at the worse end of the range too. Of a change that a person gives
    and nobody proposed nothing is predicted.
    """
    if proposal is None:
        return ()
    if proposal.chance is not None and proposal.chance < SURE:
        return (f"it is for the better in only {proposal.chance:.0%} of what may come",)
    if proposal.chance is not None:
        return ()
    return tuple(
        f"{status.objective.metric} may no longer keep its objective"
        for status in objectives
        for effect in proposal.effects
        if effect.metric is needed(status.objective) and _may_break(status, effect)
    )


def _may_break(status: SloStatus, effect: Effect) -> bool:
    """Whether an objective that holds now may not, by the worse end of the range. A share cannot be scaled: there,
    whatever is not surely for the better may break it."""
    objective = status.objective
    if not status.compliant or status.current is None:
        return False
    if objective.comparison is Comparison.GREATER_THAN:
        return status.current * effect.low_ratio < objective.target
    if objective.share is not None:
        return effect.high_ratio > 1
    return status.current * effect.high_ratio > objective.target
