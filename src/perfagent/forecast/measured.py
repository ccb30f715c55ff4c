"""The same figures as the server itself tells them."""

from math import inf

from perfagent.domain.histogram import Histogram
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, increase, mean_level, observed, rate
from perfagent.forecast.play import Figure

_MEANS = {Figure.TTFT_MEAN: Metric.TTFT, Figure.ITL_MEAN: Metric.ITL, Figure.E2E_MEAN: Metric.E2E}
_QUANTILES = {
    Figure.TTFT_P50: (Metric.TTFT, 0.5),
    Figure.TTFT_P95: (Metric.TTFT, 0.95),
    Figure.ITL_P95: (Metric.ITL, 0.95),
}
_LEVELS = {Figure.RUNNING: Metric.RUNNING, Figure.WAITING: Metric.WAITING, Figure.KV_USAGE: Metric.KV_USAGE}


def measured(window: Window, span: tuple[float, float]) -> dict[Figure, float]:
    """Figures of a part of the window, in seconds from its beginning; what the engine does not tell is left out.

    Quantiles are interpolated inside their buckets, so they are no better than these; the last bucket has no end.
    """
    start_s = window.start_s
    part = window.between(start_s + span[0], start_s + span[1])
    if part is None or part.span_s <= 0:
        return {}
    preempted = increase(part, Metric.PREEMPTIONS)
    told: dict[Figure, float | None] = {
        **{figure: _mean(observed(part, metric)) for figure, metric in _MEANS.items()},
        **{figure: _quantile(observed(part, metric), q) for figure, (metric, q) in _QUANTILES.items()},
        **{figure: mean_level(part, metric) for figure, metric in _LEVELS.items()},
        Figure.THROUGHPUT: rate(part, Metric.GENERATION_TOKENS),
        Figure.PREEMPTIONS: None if preempted is None else 60 * preempted / part.span_s,
    }
    return {figure: value for figure, value in told.items() if value is not None}


def _mean(seen: Histogram | None) -> float | None:
    return None if seen is None else seen.mean


def _quantile(seen: Histogram | None, q: float) -> float | None:
    found = None if seen is None else seen.quantile(q)
    return None if found is None or found.high == inf else found.value
