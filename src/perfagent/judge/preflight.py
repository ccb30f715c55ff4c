"""Before the first replica is touched: what each stage will be able to tell, and how likely it is to tell nothing.

From the same variances and boundaries that the judge will use, for a change that makes no difference.
"""

from collections.abc import Sequence
from math import exp, log, prod, sqrt

from scipy.special import ndtr, ndtri, stdtrit

from perfagent.domain.verdict import Criterion, Look, Outlook, Quiet, StageRule
from perfagent.judge.compare import Estimate, estimated, harm_z, own_spread, promote_z, spread, widen_z, worst_accepted
from perfagent.judge.criteria import DEFAULT_MARGIN, HARM_FLOOR, judged
from perfagent.judge.noise import noise_in

POWER = 0.9
"""A harm counts as detectable where it is found nine times out of ten."""

CANNOT_DECIDE = 0.95
"""A stage that would hold a harmless change more often than this cannot decide. A convention: nineteen of twenty."""


def outlook(
    criteria: Sequence[Criterion],
    quiet: Quiet,
    *,
    percent: int,
    rule: StageRule,
    replicas: tuple[int, int],
    observed_s: float,
    past_s: float,
    warm_up_s: float,
    look: Look,
) -> Outlook:
    """One stage with so many replicas (with the change, without it), each of its looks `observed_s` after the last."""
    metrics = judged(criteria)
    longest_s = look.planned * observed_s
    found = {each: _estimate(each, quiet, replicas, longest_s, past_s) for each in metrics}
    passes = {each: _chance_to_pass(each, found[each], rule, look) for each in metrics}
    first = metrics[0]
    accepted = worst_accepted(first)
    harmful = 1 + HARM_FLOOR if replicas[1] and first.margin <= DEFAULT_MARGIN else accepted
    needed = _quantile(found[first], harm_z(look, len(metrics))) + float(ndtri(POWER))
    return Outlook(
        percent,
        rule,
        shortest_s=warm_up_s + observed_s,
        longest_s=warm_up_s + longest_s,
        metric=first.metric,
        detectable=harmful * exp(needed * sqrt(found[first].variance)) - 1,
        hold_chance=1 - prod(passes.values()),
        weakest=min(metrics, key=lambda each: passes[each]).metric,
        assumed=not quiet.noises,
    )


def _estimate(criterion: Criterion, quiet: Quiet, replicas: tuple[int, int], seconds: float, past_s: float) -> Estimate:
    noise = noise_in(quiet, criterion.metric)
    changed, unchanged = replicas
    stretches = int(past_s / quiet.stretch_s) if quiet.noises else 0
    if unchanged:
        return estimated(0.0, spread(noise, seconds, stretches, changed, unchanged))
    return estimated(0.0, own_spread(noise, seconds, max(stretches, 1), changed))


def _chance_to_pass(criterion: Criterion, found: Estimate, rule: StageRule, look: Look) -> float:
    """At the last look alone, which is the likeliest."""
    room = log(worst_accepted(criterion)) / sqrt(found.variance)
    needed = {StageRule.NO_HARM: widen_z(look), StageRule.NOT_INFERIOR: promote_z(look), StageRule.WATCH: 0.0}[rule]
    return float(ndtr(room - _quantile(found, needed)))


def _quantile(found: Estimate, z: float) -> float:
    """Of Student's t where the standard normal has z."""
    return -float(stdtrit(found.freedom, float(ndtr(-z))))
