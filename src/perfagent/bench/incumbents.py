"""How delivery controllers judge a canary, on the same fleets: their rules on the 95th percentile of TTFT.

Minute by minute, from the buckets that vLLM exports, as these controllers see it. They judge one stage, the first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from scipy.special import ndtr

from perfagent.bench.fleets import TTFT_S, Array, Fleet

EDGES_S = np.array(
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560]
)
"""Bucket edges of vLLM's time to first token (`vllm/v1/metrics/loggers.py`)."""
SIGMA = 0.7
"""Of one request's log; its mean is the fleet's."""
POINTS, MANY_POINTS = 10, 30
"""One-minute points that an analysis has."""
CEILING, RATIO = 1.3, 1.2
"""p95 above so many times its usual size, or the baseline's, is a failed measurement: as in Argo's examples."""
FAILURES = 3
"""Failed measurements that are let pass where some are: what Argo and Flagger call the failure limit or threshold."""
TOLERANCE, CONFIDENCE_Z = 0.25, 2.326
"""Kayenta's Mann-Whitney classifier: interval of 98 %, beyond a quarter of the estimate."""
LEVEL_Z = 1.96
"""A rank test at 5 %, two-sided."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a controller sees of both arms."""

    canary: Array
    """p95 by minute."""
    baseline: Array | None
    """None where no replica is left without the change."""
    usual: float
    requests: tuple[Array, Array] | None
    """Single requests of canary and baseline by minute, for rules that pool them."""


Rule = Callable[[Watched], bool]
"""Whether the canary is rolled back."""


def watch(rng: np.random.Generator, fleet: Fleet, canaries: int, from_min: int) -> Watched:
    """The first analysis of a fleet whose first `canaries` replicas have been changed."""
    levels = fleet.levels["ttft"][from_min : from_min + MANY_POINTS]
    each = max(1, round(fleet.noise.requests_per_min))
    spread = SIGMA * fleet.noise.heavy
    draws = rng.normal(np.log(TTFT_S) - SIGMA**2 / 2, spread, (*levels.shape, each))
    drawn = np.exp(draws + levels[:, :, None])
    arms = drawn[:, :canaries].reshape(len(levels), -1), drawn[:, canaries:].reshape(len(levels), -1)
    usual = float(_quantile(ndtr((np.log(EDGES_S) - np.log(TTFT_S) + SIGMA**2 / 2) / spread)[None, :], 1.0)[0])
    return Watched(_p95(arms[0]), _p95(arms[1]) if arms[1].size else None, usual, arms if arms[1].size else None)


def _p95(requests: Array) -> Array:
    counts = np.stack([np.searchsorted(np.sort(row), EDGES_S, side="right") for row in requests]).astype(float)
    return _quantile(counts, requests.shape[1])


def _quantile(counts: Array, of: float) -> Array:
    """The 95th percentile of each row of cumulative counts, interpolated in its bucket as `histogram_quantile` does."""
    wanted = 0.95 * of
    place = np.minimum((counts < wanted).sum(axis=1), len(EDGES_S) - 1)
    rows = np.arange(len(counts))
    below = np.where(place > 0, counts[rows, place - 1], 0.0)
    low = np.where(place > 0, EDGES_S[place - 1], 0.0)
    inside = np.maximum(counts[rows, place] - below, 1e-12)
    found: Array = low + (EDGES_S[place] - low) * np.clip((wanted - below) / inside, 0.0, 1.0)
    return found


def _ceiling(failures: int) -> Rule:
    return lambda seen: bool(np.sum(seen.canary[:POINTS] > CEILING * seen.usual) > failures)


def _ratio(failures: int) -> Rule:
    return lambda seen: (
        seen.baseline is not None and bool(np.sum(seen.canary[:POINTS] > RATIO * seen.baseline[:POINTS]) > failures)
    )


def _kayenta(points: int) -> Rule:
    """Rolled back where the interval of the shift lies above a quarter of its estimate (Hodges-Lehmann)."""

    def judge(seen: Watched) -> bool:
        if seen.baseline is None:
            return False
        shifts = np.sort(np.subtract.outer(seen.canary[:points], seen.baseline[:points]).ravel())
        place = ceil(points**2 / 2 - CONFIDENCE_Z * sqrt(points**2 * (2 * points + 1) / 12))
        return bool(shifts[place - 1] > TOLERANCE * abs(float(np.median(shifts))))

    return judge


def _pooled(looks: tuple[int, ...]) -> Rule:
    """Rolled back where the canary's requests rank clearly higher than the baseline's, at any look."""

    def judge(seen: Watched) -> bool:
        return seen.requests is not None and any(_rank_z(seen.requests, minutes) > LEVEL_Z for minutes in looks)

    return judge


def _rank_z(requests: tuple[Array, Array], minutes: int) -> float:
    canary, baseline = (np.sort(arm[:minutes].ravel()) for arm in requests)
    above = float(np.searchsorted(baseline, canary).sum())
    pairs, all_of_them = len(canary) * len(baseline), len(canary) + len(baseline)
    return (above - pairs / 2) / sqrt(pairs * (all_of_them + 1) / 12)


RULES: Mapping[str, Rule] = {
    "p95 ceiling, first failure": _ceiling(0),
    "p95 ceiling, 3 failures": _ceiling(FAILURES),
    "p95 ratio, first failure": _ratio(0),
    "p95 ratio, 3 failures": _ratio(FAILURES),
    "Kayenta-like, 10 points": _kayenta(POINTS),
    "Kayenta-like, 30 points": _kayenta(MANY_POINTS),
    "pooled rank test, one look": _pooled((POINTS,)),
    "pooled rank test, every minute": _pooled(tuple(range(1, POINTS + 1))),
}
