"""Canary / baseline for one metric: an estimate, an interval, and what that means.

Ratios are of exact means per window and oriented so that more is worse. Paired windows cancel load swings; what
pairing cannot cancel, that one replica is permanently a little slower than another, is added to the interval as a
known part that more windows do not shrink. So one canary alone can only prove big harm, which is the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, log, sqrt
from statistics import fmean

from scipy.special import bdtrc, stdtrit

from perfagent.domain.metric import Metric
from perfagent.domain.verdict import Criterion, Effectiveness, Judgement, PairedWindow
from perfagent.judge.criteria import DEFAULT_MARGIN

ALPHA = 0.0232
"""One-sided error of each look: the constant (Pocock) boundary z = 1.99 that keeps three looks at 5 % together; a
stage is looked at once and extended twice."""

REPLICA_SD = 0.05
"""Permanent difference between equal replicas (sd of the log): an assumption until a fleet's own history tells."""

LEAST_WINDOW_SD = 0.02
"""Windows are never taken to scatter less than this: a handful of lucky ones must not make a narrow interval."""

LEAST_WINDOWS = 5
"""Usable windows below which nothing is said."""

LEAST_OBSERVATIONS = 5.0
"""Observations of each arm below which a window is not usable."""

SMALLEST_S = 0.001
"""Times below a millisecond are taken as one: whether they double is of no interest to anybody."""

SMALLEST_TOKENS_PER_S = 0.01
"""So that a canary which generates nothing has a ratio too, and a terrible one."""

SHARE_ALPHA = 0.001
"""Error of the test on shares of failed or rejected requests (one-sided)."""

LEAST_REQUESTS = 20.0
"""Requests of each arm below which nothing is said of a share."""

MANIFOLD = 3.0
"""Ratios above this are told as multiples: nobody reads 45,901 %."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A ratio with its interval, and the windows it rests on."""

    ratio: float
    low: float
    high: float
    windows: int


def judge_metric(
    criterion: Criterion, windows: Sequence[PairedWindow], *, harm_floor: float | None, paired: bool
) -> Judgement:
    """The judgement of one metric.

    Worse is: certainly beyond the harm floor, or beyond the criterion's margin where `harm_floor` is None or the
    margin was widened for a predicted trade-off.
    """
    mine = [window for window in windows if window.metric is criterion.metric]
    if criterion.metric in (Metric.FAILED, Metric.REJECTED):
        return _judge_share(criterion, mine)
    estimate = paired_ratio(mine) if paired else unpaired_ratio(mine)
    if estimate is None:
        usable = min(sum(map(_baseline_enough, mine)), sum(map(_canary_enough, mine)))
        reason = f"{criterion.metric}: {usable} usable windows, {LEAST_WINDOWS} are needed of each arm"
        return Judgement(criterion, Effectiveness.NO_DATA, None, None, None, usable, reason)
    accepted = worst_accepted(criterion)
    traded = criterion.margin > DEFAULT_MARGIN
    harmful = accepted if harm_floor is None or traded else 1 + harm_floor
    result = _result(estimate, accepted, harmful)
    return Judgement(
        criterion,
        result,
        estimate.ratio,
        estimate.low,
        estimate.high,
        estimate.windows,
        _said(criterion, estimate, result, accepted, harmful),
    )


def worst_accepted(criterion: Criterion) -> float:
    """The criterion's margin as a ratio oriented so that more is worse."""
    if criterion.metric is Metric.GENERATION_TOKENS:
        return 1 / (1 - criterion.margin)
    return 1 + criterion.margin


def paired_ratio(windows: Sequence[PairedWindow]) -> Estimate | None:
    """From windows in which both arms were observed; None with fewer than `LEAST_WINDOWS` of them.

    A t-interval on the mean log ratio, its variance that of the windows plus that between replicas, its degrees of
    freedom by Satterthwaite (the second part counts as known).
    """
    used = [window for window in windows if _usable(window)]
    if len(used) < LEAST_WINDOWS:
        return None
    differences = [_logged(w.metric, w.canary) - _logged(w.metric, w.baseline) for w in used]
    within = _variance(differences) / len(used)
    replicas = min(w.canary_replicas for w in used), min(w.baseline_replicas for w in used)
    between = REPLICA_SD**2 * sum(1 / count for count in replicas)
    freedom = (len(used) - 1) * ((within + between) / within) ** 2
    return _estimate(fmean(differences), within + between, freedom, len(used))


def unpaired_ratio(windows: Sequence[PairedWindow]) -> Estimate | None:
    """From windows of the same replicas before and after (Welch); None with fewer than `LEAST_WINDOWS` of either.

    Nothing cancels a change of the load here, so whoever decides must allow for more than a small harm.
    """
    before = [_logged(w.metric, w.baseline) for w in windows if _baseline_enough(w)]
    after = [_logged(w.metric, w.canary) for w in windows if _canary_enough(w)]
    if min(len(before), len(after)) < LEAST_WINDOWS:
        return None
    parts = [(_variance(arm) / len(arm), len(arm) - 1) for arm in (before, after)]
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / free for part, free in parts)
    return _estimate(fmean(after) - fmean(before), total, freedom, min(len(before), len(after)))


def _variance(values: Sequence[float]) -> float:
    """Of one window, never below what windows are taken to scatter at least."""
    centre = fmean(values)
    return max(sum((value - centre) ** 2 for value in values) / (len(values) - 1), LEAST_WINDOW_SD**2)


def _estimate(centre: float, spread: float, freedom: float, windows: int) -> Estimate:
    half = float(stdtrit(freedom, 1 - ALPHA)) * sqrt(spread)
    return Estimate(exp(centre), exp(centre - half), exp(centre + half), windows)


def _judge_share(criterion: Criterion, windows: Sequence[PairedWindow]) -> Judgement:
    old_bad, old_all = _totals([(w.baseline, w.baseline_count) for w in windows])
    new_bad, new_all = _totals([(w.canary, w.canary_count) for w in windows])
    if min(old_all, new_all) < LEAST_REQUESTS:
        counts = f"{new_all:.0f} requests of the canary and {old_all:.0f} of the baseline"
        reason = f"{criterion.metric}: {counts}, {LEAST_REQUESTS:.0f} are needed of each"
        return Judgement(criterion, Effectiveness.NO_DATA, None, None, None, len(windows), reason)
    chance = _chance_of_so_many(new_bad, new_bad + old_bad, new_all / (new_all + old_all))
    old, new = old_bad / old_all, new_bad / new_all
    worse = chance < SHARE_ALPHA
    reason = f"{criterion.metric}: {new:.2%} of {new_all:.0f} requests, baseline {old:.2%} of {old_all:.0f}" + (
        f"; by chance only once in {1 / max(chance, 1e-12):.0f}" if worse else ""
    )
    ratio = new / old if old > 0 else None
    result = Effectiveness.WORSE if worse else Effectiveness.SAME
    return Judgement(criterion, result, ratio, None, None, len(windows), reason)


def _chance_of_so_many(canarys: float, both: float, canarys_share: float) -> float:
    """Chance that at least so many of all failures fall on the canary if each falls on a request at random.

    A binomial with the canary's share of the requests, so it errs on the side of chance where failures are many.
    """
    return float(bdtrc(round(canarys) - 1, round(both), canarys_share)) if canarys >= 1 else 1.0


def _totals(figures: Sequence[tuple[float | None, float]]) -> tuple[float, float]:
    known = [(share * count, count) for share, count in figures if share is not None]
    return sum(bad for bad, _ in known), sum(count for _, count in known)


def _baseline_enough(window: PairedWindow) -> bool:
    return window.baseline is not None and window.baseline_count >= LEAST_OBSERVATIONS


def _canary_enough(window: PairedWindow) -> bool:
    """Throughput is itself the number of observations: a canary that generates nothing is an answer, not a gap."""
    throughput = window.metric is Metric.GENERATION_TOKENS
    return window.canary is not None and (throughput or window.canary_count >= LEAST_OBSERVATIONS)


def _usable(window: PairedWindow) -> bool:
    return _baseline_enough(window) and _canary_enough(window)


def _logged(metric: Metric, value: float | None) -> float:
    if metric is Metric.GENERATION_TOKENS:
        return -log(max(value or 0.0, SMALLEST_TOKENS_PER_S))
    return log(max(value or 0.0, SMALLEST_S))


def _result(estimate: Estimate, accepted: float, harmful: float) -> Effectiveness:
    if estimate.low > harmful:
        return Effectiveness.WORSE
    if estimate.high < 1:
        return Effectiveness.BETTER
    return Effectiveness.SAME if estimate.high < accepted else Effectiveness.UNCLEAR


_MEANS = {
    Effectiveness.WORSE: "certainly worse by more than {harmful}",
    Effectiveness.BETTER: "certainly better",
    Effectiveness.SAME: "certainly not worse by more than {accepted}",
    Effectiveness.UNCLEAR: "neither certainly worse by more than {harmful} nor certainly within {accepted}",
}


def _said(criterion: Criterion, estimate: Estimate, result: Effectiveness, accepted: float, harmful: float) -> str:
    words = partial(_in_words, criterion.metric)
    meaning = _MEANS[result].format(
        harmful=_size(criterion.metric, harmful), accepted=_size(criterion.metric, accepted)
    )
    return (
        f"{criterion.metric}: {words(estimate.ratio)} (between {words(estimate.low)} and {words(estimate.high)}, "
        f"{estimate.windows} windows): {meaning}"
    )


def _in_words(metric: Metric, ratio: float) -> str:
    throughput = metric is Metric.GENERATION_TOKENS
    natural = 1 / ratio if throughput else ratio
    if natural > MANIFOLD:
        return f"{natural:,.3g} times as {'much' if throughput else 'long'}"
    more, less = ("less", "more") if throughput else ("longer", "shorter")
    return f"{_size(metric, ratio)} {more if ratio > 1 else less}"


def _size(metric: Metric, ratio: float) -> str:
    natural = 1 / ratio if metric is Metric.GENERATION_TOKENS else ratio
    return f"{abs(natural - 1):.1%}"
