"""How noisy a fleet is where nothing was changed, from its own past: every quiet hour is a comparison of equals.

A nested analysis of variance with three parts: what a replica is for good, its moods (half hours), and the rest, by
stretches of a few windows. Only the last part is averaged out by observing longer. What tells replicas apart is a mean
of the estimate and a prior, weighted by the figures behind them: of two replicas a past tells little, of ten enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from perfagent.domain.metric import Metric
from perfagent.domain.verdict import Noise, Quiet

STRETCHES = 2
"""In one observation, so that what lasts for a few of its windows is one figure: five windows of the usual ten."""

MOOD_STRETCHES = 6
"""Stretches in a mood, half an hour of the usual five minutes: as long as a stage is observed at most."""

LEAST_MOODS = 4
"""Of a short past moods are shorter: with fewer of them nothing would be known of how they scatter."""

MOST_STRETCHES = 72
"""Of the past: six hours of the usual five minutes, which is what the history keeps."""

PRIOR_PERMANENT_SD, PRIOR_MOOD_SD, PRIOR_SWING_SD = 0.05, 0.02, 0.05
"""Until a past tells: equal replicas differ by 5 % for good, by 2 % from one half hour to the next, and the load makes
all of them 5 % slower or faster. Assumptions, as nothing was published; a fleet's own past soon outweighs them."""

PRIOR_FREEDOM = 4.0
"""The priors weigh as much as five replicas, or five half hours of one, that were really seen. An assumption."""

Logs = NDArray[np.float64]
"""Log figures by replica and stretch; NaN where nothing was seen."""


def quiet(logs: Mapping[Metric, Logs], stretch_s: float) -> Quiet:
    """The noise of every metric whose past is long enough."""
    complete = {metric: _complete(each) for metric, each in logs.items()}
    known = {metric: seen for metric, seen in complete.items() if seen.shape[1] >= LEAST_MOODS}
    return Quiet(
        tuple(noise_of(metric, seen, stretch_s) for metric, seen in known.items()),
        max((len(seen) for seen in known.values()), default=0),
        max((seen.shape[1] for seen in known.values()), default=0),
        stretch_s,
    )


def noise_in(past: Quiet, metric: Metric) -> Noise:
    """What is known of a metric's noise; without a past the prior."""
    return next((noise for noise in past.noises if noise.metric is metric), prior(metric))


def prior(metric: Metric) -> Noise:
    """What is reckoned with before anything was seen."""
    return noise_of(metric, np.empty((0, 0)), inf)


def noise_of(metric: Metric, logs: Logs, stretch_s: float) -> Noise:
    """From log figures without gaps. Of a lone replica all that is seen is its swing, in which its moods are."""
    together = _parts(logs.mean(axis=0, keepdims=True), 1) if len(logs) else None
    apart = _parts(logs - logs.mean(axis=0), len(logs) - 1) if len(logs) > 1 else None
    permanent, permanent_freedom = _mixed(PRIOR_PERMANENT_SD, *((apart.permanent, apart.rows) if apart else (0.0, 0)))
    mood, mood_freedom = _mixed(PRIOR_MOOD_SD, *((apart.mood, apart.mood_freedom) if apart else (0.0, 0)))
    return Noise(
        metric,
        permanent,
        permanent_freedom,
        mood if apart or not together else 0.0,
        mood_freedom,
        apart.fast**0.5 if apart else 0.0,
        apart.fast_freedom if apart else 0.0,
        together.mood**0.5 if together else PRIOR_SWING_SD,
        together.mood_freedom if together else PRIOR_FREEDOM,
        together.fast**0.5 if together else 0.0,
        together.length if together else MOOD_STRETCHES,
        stretch_s,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """Variances of figures, with the degrees of freedom of each."""

    permanent: float
    rows: int
    mood: float
    mood_freedom: float
    fast: float
    fast_freedom: float
    length: int
    """Stretches in a mood."""


def _parts(figures: Logs, rows: int) -> _Parts | None:
    """Of figures by replica and stretch, of which `rows` are free: their mean may have been taken away.

    None where the past is too short.
    """
    stretches = figures.shape[1]
    if stretches < LEAST_MOODS:
        return None
    length = min(MOOD_STRETCHES, stretches // LEAST_MOODS)
    count = stretches // length
    each = figures[:, : count * length].reshape(len(figures), count, length)
    means = each.mean(axis=2)
    centre = means.mean(axis=1)
    mood_freedom, fast_freedom = rows * (count - 1), rows * count * (length - 1)
    mood = float(((means - centre[:, None]) ** 2).sum()) / mood_freedom
    fast = float(((each - means[:, :, None]) ** 2).sum()) / fast_freedom if fast_freedom else 0.0
    permanent = max(0.0, float((centre**2).sum()) / rows - mood / count)
    return _Parts(permanent, rows, mood, mood_freedom, fast, fast_freedom, length)


def _mixed(prior_sd: float, variance: float, freedom: float) -> tuple[float, float]:
    """(sd, freedom) of the estimate and the prior together."""
    both = PRIOR_FREEDOM + freedom
    return float(((PRIOR_FREEDOM * prior_sd**2 + freedom * variance) / both) ** 0.5), both


def _complete(logs: Logs) -> Logs:
    """Replicas that were seen in most stretches, and the stretches in which all of these were."""
    seen = np.isfinite(logs)
    rows = seen.sum(axis=1) * 2 >= seen.any(axis=0).sum()
    kept = logs[rows & seen.any(axis=1)]
    return kept[:, np.isfinite(kept).all(axis=0)] if kept.size else np.empty((0, 0))
