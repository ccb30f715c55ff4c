"""How a window stands to the objectives that a user set.

Means and rates are exact and decide. A quantile decides only where its whole bucket lies on one side of the target.
"""

from math import isinf

from perfagent.domain.errors import InvalidInput
from perfagent.domain.metric import Metric
from perfagent.domain.slo import Comparison, Objective, SloMetric, SloStatus, Statistic
from perfagent.domain.window import Window, increase, mean_level, observed, rate

_LATENCIES = {
    SloMetric.TTFT: Metric.TTFT,
    SloMetric.ITL: Metric.ITL,
    SloMetric.TPOT: Metric.TPOT,
    SloMetric.E2E_LATENCY: Metric.E2E,
    SloMetric.QUEUE_TIME: Metric.QUEUE_TIME,
}
_LEVELS = {SloMetric.QUEUE_SIZE: Metric.WAITING, SloMetric.KV_CACHE_USAGE: Metric.KV_USAGE}


def needed(objective: Objective) -> Metric:
    """The metric that an objective cannot be judged without."""
    if objective.metric is SloMetric.THROUGHPUT:
        return Metric.GENERATION_TOKENS
    if objective.metric is SloMetric.ERROR_RATE:
        return Metric.FINISHED
    return _LATENCIES.get(objective.metric) or _LEVELS[objective.metric]


def check_objective(objective: Objective) -> None:
    """Raise `InvalidInput` for a statistic that the metric does not have: only latencies have quantiles."""
    if objective.statistic is not Statistic.MEAN and objective.metric not in _LATENCIES:
        raise InvalidInput(f"{objective.metric} has no {objective.statistic}; only latencies have quantiles")


def slo_status(window: Window, objective: Objective, gap: str | None = None) -> SloStatus:
    """Whether the window complies. `gap` is the reason why the engine does not export the metric, where it does not."""
    check_objective(objective)
    if gap is not None:
        return SloStatus(objective, None, None, gap)
    if objective.metric in _LATENCIES:
        return _latency(window, objective)
    current = _figure(window, objective.metric)
    if current is None:
        return SloStatus(objective, None, None, "nothing was measured in this window")
    return SloStatus(objective, current, _complies(current, objective), "exact")


def _latency(window: Window, objective: Objective) -> SloStatus:
    seen = observed(window, _LATENCIES[objective.metric])
    if seen is None or seen.mean is None:
        return SloStatus(objective, None, None, "nothing was measured in this window")
    q = objective.statistic.q
    if q is None:
        return SloStatus(objective, seen.mean, _complies(seen.mean, objective), "exact")
    quantile = seen.quantile(q)
    if quantile is None:
        raise AssertionError("a histogram with a mean has quantiles")
    low, high = _complies(quantile.low, objective), _complies(quantile.high, objective)
    compliant = low if low == high else None
    reason = "its bucket decides" if compliant is not None else "the target lies inside the quantile's bucket"
    return SloStatus(
        objective, quantile.value, compliant, reason, quantile.low, None if isinf(quantile.high) else quantile.high
    )


def _figure(window: Window, metric: SloMetric) -> float | None:
    if metric in _LEVELS:
        return mean_level(window, _LEVELS[metric])
    if metric is SloMetric.THROUGHPUT:
        return rate(window, Metric.GENERATION_TOKENS)
    return error_rate(window)


def error_rate(window: Window) -> float | None:
    """Failed and rejected requests / all that ended, or None when none ended or successes are not exported."""
    finished = increase(window, Metric.FINISHED)
    bad = (increase(window, Metric.FAILED) or 0.0) + (increase(window, Metric.REJECTED) or 0.0)
    if finished is None or finished + bad <= 0:
        return None
    return bad / (finished + bad)


def _complies(value: float, objective: Objective) -> bool:
    if objective.comparison is Comparison.LESS_THAN:
        return value <= objective.target
    return value >= objective.target
