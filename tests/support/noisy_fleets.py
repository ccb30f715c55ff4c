"""What a noisy fleet of equal replicas looks like on its metrics pages, drawn from a seed.

Load swings are shared by all replicas, bursts are not, and every replica is permanently a little different. `slower`
makes some replicas' latencies longer, as a bad change would.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np

from perfagent.domain.histogram import Histogram
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Labels, Snapshot
from perfagent.domain.window import Window

LATENCIES = {Metric.TTFT: (0.4, 0.7), Metric.ITL: (0.03, 0.3), Metric.E2E: (8.0, 0.6)}
"""Median in seconds and sigma of a log-normal."""
TOKENS_PER_REQUEST = 250
SCRAPE_S = 20.0


@dataclass(frozen=True)
class Noise:
    """How restless the fleet is: standard deviations of the log."""

    swing: float = 0.2
    burst: float = 0.1
    personality: float = 0.05
    requests_per_min: float = 120.0


def fleet(
    seed: int,
    *,
    replicas: int = 10,
    minutes: int = 10,
    start_s: float = 0.0,
    noise: Noise = Noise(),
    slower: Mapping[str, Mapping[Metric, float]] | None = None,
    failing: Mapping[str, float] | None = None,
) -> dict[str, Window]:
    """One window per replica (`r00`, `r01`, …), scraped every 20 s for `minutes`.

    `slower`: replica → metric → factor on its latencies. `failing`: replica → share of its requests that fail.
    """
    rng = np.random.default_rng(seed)
    ids = [f"r{k:02d}" for k in range(replicas)]
    steps = int(minutes * 60 / SCRAPE_S)
    per_step = noise.requests_per_min * SCRAPE_S / 60
    swing = np.repeat(rng.normal(0, noise.swing, minutes), steps // minutes)
    windows = {}
    for target in ids:
        personality = rng.normal(0, noise.personality)
        burst = np.repeat(rng.normal(0, noise.burst, minutes), steps // minutes)
        requests = rng.poisson(per_step * np.exp(swing / 2))
        failed = rng.binomial(requests, (failing or {}).get(target, 0.002))
        factor = np.exp(swing + burst + personality)
        sums: dict[Metric, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
        for metric, (median, sigma) in LATENCIES.items():
            worse = (slower or {}).get(target, {}).get(metric, 1.0)
            drawn = [rng.lognormal(np.log(median), sigma, n).sum() if n else 0.0 for n in requests]
            sums[metric] = np.cumsum(np.array(drawn) * factor * worse)
        counts = np.cumsum(requests)
        snapshots = [_page(target, start_s, 0.0, 0.0, dict.fromkeys(LATENCIES, 0.0))]
        for k in range(steps):
            at_s = start_s + (k + 1) * SCRAPE_S
            totals = {metric: float(values[k]) for metric, values in sums.items()}
            snapshots.append(_page(target, at_s, float(counts[k]), float(np.cumsum(failed)[k]), totals))
        windows[target] = Window(tuple(snapshots))
    return windows


def _page(target: str, at_s: float, ended: float, failed: float, totals: Mapping[Metric, float]) -> Snapshot:
    scalars: dict[Metric, dict[Labels, float]] = {
        Metric.FINISHED: {(): ended - failed},
        Metric.FAILED: {(): failed},
        Metric.GENERATION_TOKENS: {(): ended * TOKENS_PER_REQUEST},
    }
    histograms: dict[Metric, dict[Labels, Histogram]] = {
        metric: {(): Histogram((inf,), (ended,), total)} for metric, total in totals.items()
    }
    return Snapshot(target, "vllm", at_s, scalars, histograms)
