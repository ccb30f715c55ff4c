"""Were both arms given the same kind of work, and was the canary warm? Otherwise there is nothing to compare.

Routers that look at caches or queues do not assign requests at random. An arm with an easier lot looks better than it
is, so that is no proof; one with a harder lot looks worse than it is, so that is no harm. Both are left to a person.
"""

from collections.abc import Sequence
from math import exp
from statistics import fmean

from perfagent.domain.metric import Metric
from perfagent.domain.verdict import Criterion, Effectiveness, Judgement, Look, PairedWindow
from perfagent.judge.compare import LEAST_WINDOWS, Figures, estimate, in_words, promote_z
from perfagent.judge.criteria import SHARES

WARM = 0.05
"""A prefix cache is warm when it saves within so much (of all prompt tokens) of what it saves later. An assumption."""

MOST_WARMING = 0.5
"""Share of the windows that may be left out for it: a cache that never gets warm is what the change made of it."""


def judge_mix(criterion: Criterion, figures: Figures, look: Look) -> Judgement:
    """Whether a part of the work certainly differs by more than the margin, in either direction.

    A lot that differs by less than is accepted of a latency cannot by itself make an unacceptable one look acceptable,
    as long as latencies grow no faster than the work.
    """
    found = estimate(criterion.metric, figures)
    if found is None:
        reason = f"{criterion.metric}: not seen in both arms"
        return Judgement(criterion, Effectiveness.NO_DATA, None, None, None, 0, reason)
    ratio, low, high = exp(found.centre), found.bound(-promote_z(look)), found.bound(promote_z(look))
    differs = low > 1 + criterion.margin or high < 1 / (1 + criterion.margin)
    said = f"not comparable: {criterion.metric} of the canary is {in_words(criterion.metric, ratio)}"
    reason = said if differs else f"{criterion.metric}: no certain difference"
    result = Effectiveness.UNCLEAR if differs else Effectiveness.SAME
    return Judgement(criterion, result, ratio, low, high, found.windows, reason)


def easier(mix: Judgement) -> bool:
    """Whether the canary certainly had less of it to do."""
    return mix.result is Effectiveness.UNCLEAR and mix.ratio is not None and mix.ratio < 1


def harder(mix: Judgement) -> bool:
    """Whether the canary certainly had more of it to do."""
    return mix.result is Effectiveness.UNCLEAR and mix.ratio is not None and mix.ratio > 1


def excuses(worse: Judgement, mixes: Sequence[Judgement]) -> list[str]:
    """Why a latency may look worse than it is: more work, as long as that may differ by as much as the latency does.

    How many requests came excuses nothing: not every engine counts clients that give up, so a slow server seems to be
    asked less and a quick one more.
    """
    if worse.criterion.metric in (*SHARES, Metric.GENERATION_TOKENS):
        return []
    work = [mix for mix in mixes if mix.criterion.metric is not Metric.FINISHED and harder(mix)]
    return [mix.reason for mix in work if (worse.low or 1.0) <= (mix.high or 0.0)]


def warm_from(windows: Sequence[PairedWindow]) -> tuple[float, int]:
    """(when the canary's prefix cache was warm, how many windows were before that)."""
    mine = sorted((w for w in windows if w.metric is Metric.PREFIX_HITS), key=lambda window: window.start_s)
    half = int(len(mine) * MOST_WARMING)
    later = [window.canary for window in mine[half:] if window.canary is not None]
    if not later or len(mine) - half < LEAST_WINDOWS:
        return 0.0, 0
    steady = fmean(later)
    cold = next((k for k, w in enumerate(mine[:half]) if (w.canary or 0.0) <= steady + WARM), half)
    return (mine[cold].start_s, cold) if cold else (0.0, 0)
