"""Paired windows of a noisy fleet, drawn from a seed: what `noisy_fleets` makes, without its pages.

The figures of an arm's replicas in a window are averaged as their requests are, so a thousand fleets take seconds.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perfagent.domain.metric import Metric
from perfagent.domain.verdict import PairedWindow

LATENCIES = {Metric.TTFT: 0.4, Metric.ITL: 0.03, Metric.E2E: 8.0}
REQUESTS = 120


def paired_windows(
    seed: int,
    *,
    canaries: int,
    baselines: int,
    windows: int = 10,
    worse: float = 1.0,
    swing: float = 0.2,
    burst: float = 0.1,
    personality: float = 0.05,
) -> tuple[PairedWindow, ...]:
    """Windows of one minute with 120 requests per replica; `worse` is a factor on the canary's latencies."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0, personality, canaries + baselines)
    restless = rng.normal(0, burst, (windows, canaries + baselines))
    swings: NDArray[np.float64] = np.repeat(rng.normal(0, swing, (windows, 1)), 2, axis=1)
    made: list[PairedWindow] = []
    for metric, typical in LATENCIES.items():
        sampling = rng.normal(0, 0.75 / np.sqrt(REQUESTS), restless.shape)
        figures = typical * np.exp(own + restless + sampling)
        made += _windows(metric, figures, canaries, swings + np.array([np.log(worse), 0.0]))
    tokens = rng.poisson(REQUESTS, (windows, canaries + baselines)).astype(np.float64)
    made += _windows(Metric.GENERATION_TOKENS, tokens, canaries, np.zeros((windows, 2)))
    return tuple(made)


def constant_windows(
    values: Sequence[tuple[Metric, float, float]], *, windows: int = 10, replicas: tuple[int, int] = (5, 5)
) -> tuple[PairedWindow, ...]:
    """The same (metric, baseline, canary) in every window, with plenty of observations."""
    return tuple(_window(k, metric, old, new, *replicas) for metric, old, new in values for k in range(windows))


def _windows(
    metric: Metric, figures: NDArray[np.float64], canaries: int, shifts: NDArray[np.float64]
) -> list[PairedWindow]:
    new = figures[:, :canaries].mean(axis=1) * np.exp(shifts[:, 0])
    old = figures[:, canaries:].mean(axis=1) * np.exp(shifts[:, 1])
    replicas = figures.shape[1] - canaries, canaries
    return [
        _window(k, metric, o, n, *replicas) for k, (o, n) in enumerate(zip(old.tolist(), new.tolist(), strict=True))
    ]


def _window(k: int, metric: Metric, old: float, new: float, baselines: int, canaries: int) -> PairedWindow:
    start_s = 60.0 * k
    counts = float(REQUESTS * baselines), float(REQUESTS * canaries)
    return PairedWindow(start_s, start_s + 60, metric, old, new, *counts, baselines, canaries)
