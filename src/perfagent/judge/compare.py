"""Canary / baseline for one metric: an estimate, how sure it is, and what that means.

Ratios are of exact means per window and oriented so that more is worse. Pairing windows cancels load swings. From the
mean log ratio that of the same replicas before the change is subtracted, as far as what replicas are for good outweighs
the noise (best linear prediction); where nobody is left without the change, the same replicas' own past stands in.
What more windows cannot average out is part of the variance, so one canary alone can only prove big harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import exp, inf, log, sqrt
from statistics import fmean

from scipy.special import ndtr, ndtri, stdtr, stdtrit

from perfagent.domain.metric import Metric
from perfagent.domain.verdict import Criterion, Effectiveness, Judgement, Look, Noise, PairedWindow, Quiet
from perfagent.judge.criteria import DEFAULT_MARGIN
from perfagent.judge.looks import boundary, holm, spent
from perfagent.judge.noise import noise_in

PROMOTE_ALPHA = 0.01
"""Of changes that are just as much worse as accepted, so many are taken for proven, over all looks at a stage."""

HARM_ALPHA = 0.005
"""Of rollouts of changes that make no difference, at most so many are rolled back for a metric's sake: over all
stages, metrics and looks. As much again is left to sudden harm (`evidence.py`): one in a hundred altogether."""

WIDEN_ALPHA = 0.2
"""Of changes that are just as much worse as accepted, so many go beyond a small share, over all looks at it. A
convention: trials are planned to find four of five. Half of the fleet then has to prove what a small share cannot."""

REDRAWN = 0.16
"""Share of the variance between replicas that a restart draws anew, on another core or with another heap. An
assumption: nothing was published, and a quiet past has no restarts."""

LEAST_WINDOW_SD = 0.02
"""Windows are never taken to scatter less than this: a handful of lucky ones must not make a narrow interval."""

LEAST_WINDOWS = 5
"""Usable windows below which nothing is said."""

LEAST_OBSERVATIONS = 5.0
"""Observations of each arm below which a window is not usable."""

SMALLEST_S = 0.001
"""Times below a millisecond are taken as one: whether they double is of no interest to anybody."""

SMALLEST_SHARE = 0.05
"""Shares below a twentieth are taken as that: twice next to nothing is still next to nothing."""

SMALLEST_TOKENS_PER_S = 0.01
"""So that a canary which generates nothing has a ratio too, and a terrible one."""

MANIFOLD = 3.0
"""Ratios above this are told as multiples: nobody reads 45,901 %."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A log ratio, its variance, and the windows it rests on."""

    centre: float
    variance: float
    freedom: float
    windows: int

    def strength(self, least: float) -> float:
        """How far it lies above a log ratio, as a standard normal z of the same chance."""
        t = (self.centre - least) / sqrt(self.variance)
        return -float(ndtri(stdtr(self.freedom, -t))) if t > 0 else float(ndtri(stdtr(self.freedom, t)))

    def bound(self, z: float) -> float:
        """The ratio that it lies below as surely as a standard normal lies below z."""
        t = float(stdtrit(self.freedom, float(ndtr(-abs(z)))))
        return exp(self.centre + (-t if z > 0 else t) * sqrt(self.variance))


@dataclass(frozen=True, slots=True)
class Figures:
    """What a stage's metrics are judged by."""

    windows: Sequence[PairedWindow]
    past: Sequence[PairedWindow]
    """The same replicas before the change, in stretches."""
    quiet: Quiet
    paired: bool
    """Whether both arms were observed at the same time; otherwise the past is all there is to compare with."""


def judge_metrics(
    criteria: Sequence[Criterion], figures: Figures, look: Look, *, harm_floor: float | None
) -> tuple[Judgement, ...]:
    """The judgement of each metric; shares are judged elsewhere.

    Worse is: certainly beyond the harm floor, or beyond the criterion's margin where `harm_floor` is None or the
    margin was widened for a predicted trade-off. Within its margin a metric is where that is certain together with
    all others of which it is said.
    """
    estimates = [estimate(each.metric, figures) for each in criteria]
    strengths = [
        -inf if found is None else -found.strength(log(worst_accepted(each)))
        for each, found in zip(criteria, estimates, strict=True)
    ]
    shared = range(len(criteria), 0, -1)
    holds = holm(strengths, [boundary(PROMOTE_ALPHA / claims, look.planned) for claims in shared])
    within = sorted(range(len(criteria)), key=lambda place: -strengths[place])[:holds]
    return tuple(
        replace(
            _judged(each, found, figures, look, len(criteria), harm_floor=harm_floor, within=place in within),
            likely=strength >= widen_z(look),
        )
        for place, (each, found, strength) in enumerate(zip(criteria, estimates, strengths, strict=True))
    )


def harm_z(look: Look, metrics: int) -> float:
    """How sure each look must be of harm."""
    return boundary(HARM_ALPHA / (look.stages * metrics), look.planned)


def promote_z(look: Look) -> float:
    """How sure each look must be that a metric is within its margin."""
    return boundary(PROMOTE_ALPHA, look.planned)


def widen_z(look: Look) -> float:
    """How likely each look at a small share must make it that a metric is within its margin."""
    return boundary(WIDEN_ALPHA, look.planned)


def promote_spent(look: Look) -> float:
    """How much of the chance to promote wrongly the looks up to this one have used."""
    return spent(promote_z(look), look.number)


def _judged(
    criterion: Criterion,
    found: Estimate | None,
    figures: Figures,
    look: Look,
    metrics: int,
    *,
    harm_floor: float | None,
    within: bool,
) -> Judgement:
    if found is None:
        mine = [window for window in figures.windows if window.metric is criterion.metric]
        usable = min(sum(map(_baseline_enough, mine)) if figures.paired else len(mine), sum(map(_canary_enough, mine)))
        reason = f"{criterion.metric}: {usable} usable windows, {LEAST_WINDOWS} are needed of each arm"
        if usable >= LEAST_WINDOWS:
            reason = f"{criterion.metric}: nothing is known of the same replicas before the change"
        return Judgement(criterion, Effectiveness.NO_DATA, None, None, None, usable, reason)
    accepted = worst_accepted(criterion)
    traded = criterion.margin > DEFAULT_MARGIN
    harmful = accepted if harm_floor is None or traded else 1 + harm_floor
    ratio, low, high = exp(found.centre), found.bound(-harm_z(look, metrics)), found.bound(promote_z(look))
    result = Effectiveness.UNCLEAR
    if low > harmful:
        result = Effectiveness.WORSE
    elif within:
        result = Effectiveness.BETTER if high < 1 else Effectiveness.SAME
    said = _said(criterion, (ratio, low, high), found.windows, result, accepted, harmful)
    return Judgement(criterion, result, ratio, low, high, found.windows, said)


def worst_accepted(criterion: Criterion) -> float:
    """The criterion's margin as a ratio oriented so that more is worse."""
    if criterion.metric is Metric.GENERATION_TOKENS:
        return 1 / (1 - criterion.margin)
    return 1 + criterion.margin


def estimate(metric: Metric, figures: Figures) -> Estimate | None:
    """The log ratio of canary to baseline; None with fewer than `LEAST_WINDOWS` usable windows, or without a past
    where that is the baseline."""
    windows = [window for window in figures.windows if window.metric is metric]
    past, noise = [window for window in figures.past if window.metric is metric], noise_in(figures.quiet, metric)
    return against_others(windows, past, noise) if figures.paired else against_own_past(windows, past, noise)


def against_others(windows: Sequence[PairedWindow], past: Sequence[PairedWindow], noise: Noise) -> Estimate | None:
    """From windows in which both arms were observed, and stretches of the same arms before the change."""
    used, before = [w for w in windows if _usable(w)], [w for w in past if _usable(w)]
    if len(used) < LEAST_WINDOWS:
        return None
    differences = [_ratio(window) for window in used]
    canaries, baselines = (
        min(w.canary_replicas for w in used),
        min(w.baseline_replicas for w in used),
    )
    centre, weight = fmean(differences), trust(noise, len(before))
    if before:
        centre -= weight * fmean(map(_ratio, before))
    seen = _variance(differences) / len(used), len(used) - 1.0
    parts = spread(noise, _seconds(used), len(before), canaries, baselines, seen)
    return estimated(centre, parts, len(used))


def trust(noise: Noise, stretches: int) -> float:
    """How much of what the arms differed by before is what they differ by for good: 0 without a past, at most 1."""
    if not stretches:
        return 0.0
    permanent, passing = noise.permanent_sd**2, noise.mood_sd**2 + _brief(noise, noise.fast_sd, stretches)
    return permanent / (permanent + passing)


def _brief(noise: Noise, fast_sd: float, stretches: float) -> float:
    """What the mean of so many stretches scatters more than that of a whole mood, which has the rest."""
    return 0.0 if not fast_sd else fast_sd**2 * max(0.0, 1 / stretches - 1 / noise.mood_stretches)


_Part = tuple[float, float]
"""A variance and its degrees of freedom."""


def spread(
    noise: Noise, seconds: float, stretches: int, canaries: int, baselines: int, seen: _Part = (0.0, inf)
) -> list[_Part]:
    """What the variance of a paired comparison is made of; `seen` is what the windows' own scatter makes it."""
    weight, arms = trust(noise, stretches), 1 / canaries + 1 / baselines
    left = (1 - weight) ** 2 * arms + REDRAWN * weight / canaries
    fast = _brief(noise, noise.fast_sd, seconds / noise.stretch_s) * arms
    within = noise.fast_sd**2 / noise.mood_stretches * arms
    return [
        (noise.permanent_sd**2 * left, noise.permanent_freedom),
        (noise.mood_sd**2 * arms * (1 + weight**2), noise.mood_freedom),
        max((seen[0] - within, seen[1]), (fast, noise.fast_freedom)),
        (weight**2 * _brief(noise, noise.fast_sd, max(stretches, 1)) * arms, noise.fast_freedom),
    ]


def against_own_past(windows: Sequence[PairedWindow], past: Sequence[PairedWindow], noise: Noise) -> Estimate | None:
    """From windows of replicas after the change and stretches of the same ones before.

    Nothing cancels a change of the load here, so how much the load has ever changed is part of the variance.
    """
    used = [window for window in windows if _canary_enough(window)]
    after = [logged(window.metric, window.canary) for window in used]
    before = [logged(w.metric, w.baseline) for w in past if _baseline_enough(w)]
    if len(after) < LEAST_WINDOWS or not before:
        return None
    replicas = min(window.canary_replicas for window in used)
    seen = _variance(after) / len(after), len(after) - 1.0
    parts = own_spread(noise, _seconds(used), len(before), replicas, seen)
    return estimated(fmean(after) - fmean(before), parts, len(used))


def own_spread(noise: Noise, seconds: float, stretches: int, replicas: int, seen: _Part = (0.0, inf)) -> list[_Part]:
    """What the variance of a comparison with the own past is made of."""
    within = noise.swing_fast_sd**2 / noise.mood_stretches
    fast = _brief(noise, noise.swing_fast_sd, seconds / noise.stretch_s)
    return [
        (2 * noise.swing_sd**2, noise.swing_freedom),
        (REDRAWN * noise.permanent_sd**2 / replicas, noise.permanent_freedom),
        (2 * noise.mood_sd**2 / replicas, noise.mood_freedom),
        max((seen[0] - within, seen[1]), (fast, noise.swing_freedom)),
        (_brief(noise, noise.swing_fast_sd, stretches), noise.swing_freedom),
    ]


def estimated(centre: float, parts: Sequence[_Part], windows: int = 0) -> Estimate:
    """With degrees of freedom by Satterthwaite."""
    total = sum(variance for variance, _ in parts)
    doubt = sum(variance**2 / freedom for variance, freedom in parts if variance)
    return Estimate(centre, total, total**2 / doubt if doubt else inf, windows)


def _variance(values: Sequence[float]) -> float:
    """Of one window, never below what windows are taken to scatter at least."""
    centre = fmean(values)
    return max(sum((value - centre) ** 2 for value in values) / (len(values) - 1), LEAST_WINDOW_SD**2)


def _seconds(windows: Sequence[PairedWindow]) -> float:
    return sum(window.end_s - window.start_s for window in windows)


def _ratio(window: PairedWindow) -> float:
    return logged(window.metric, window.canary) - logged(window.metric, window.baseline)


def _baseline_enough(window: PairedWindow) -> bool:
    return window.baseline is not None and window.baseline_count >= LEAST_OBSERVATIONS


def _canary_enough(window: PairedWindow) -> bool:
    """Throughput is itself the number of observations: a canary that generates nothing is an answer, not a gap."""
    throughput = window.metric is Metric.GENERATION_TOKENS
    return window.canary is not None and (throughput or window.canary_count >= LEAST_OBSERVATIONS)


def _usable(window: PairedWindow) -> bool:
    return _baseline_enough(window) and _canary_enough(window)


def logged(metric: Metric, value: float | None) -> float:
    """The log of a figure, oriented so that more is worse."""
    if metric is Metric.GENERATION_TOKENS:
        return -log(max(value or 0.0, SMALLEST_TOKENS_PER_S))
    return log(max(value or 0.0, SMALLEST_SHARE if metric is Metric.PREFIX_HITS else SMALLEST_S))


_MEANS = {
    Effectiveness.WORSE: "certainly worse by more than {harmful}",
    Effectiveness.BETTER: "certainly better",
    Effectiveness.SAME: "certainly not worse by more than {accepted}",
    Effectiveness.UNCLEAR: "neither certainly worse by more than {harmful} nor certainly within {accepted}",
}


def _said(
    criterion: Criterion,
    interval: tuple[float, float, float],
    windows: int,
    result: Effectiveness,
    accepted: float,
    harmful: float,
) -> str:
    ratio, low, high = map(partial(in_words, criterion.metric), interval)
    meaning = _MEANS[result].format(
        harmful=_size(criterion.metric, harmful), accepted=_size(criterion.metric, accepted)
    )
    return f"{criterion.metric}: {ratio} (between {low} and {high}, {windows} windows): {meaning}"


_WORDS = {
    Metric.GENERATION_TOKENS: ("less", "more"),
    Metric.FINISHED: ("more", "fewer"),
    Metric.PREFIX_HITS: ("more to compute", "less to compute"),
}


def in_words(metric: Metric, ratio: float) -> str:
    """A ratio as people say it."""
    throughput = metric is Metric.GENERATION_TOKENS
    natural = 1 / ratio if throughput else ratio
    if natural > MANIFOLD:
        return f"{natural:,.3g} times as {'much' if throughput else 'long'}"
    more, less = _WORDS.get(metric, ("longer", "shorter"))
    return f"{_size(metric, ratio)} {more if ratio > 1 else less}"


def _size(metric: Metric, ratio: float) -> str:
    natural = 1 / ratio if metric is Metric.GENERATION_TOKENS else ratio
    return f"{abs(natural - 1):.1%}"
