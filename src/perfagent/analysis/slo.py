"""How a window stands to the objectives that a user set.

Means, rates and shares at a bucket edge are exact and decide. A quantile decides only where its whole bucket lies on
one side of the target.
"""

from collections.abc import Iterable, Sequence
from math import isinf

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.histogram import Histogram, merge
from perfagent.domain.metric import Metric
from perfagent.domain.slo import Comparison, Objective, SloMetric, SloStatus, Statistic
from perfagent.domain.window import Window, increase, mean_level, observed, rate

LATENCIES = {
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
    return LATENCIES.get(objective.metric) or _LEVELS[objective.metric]


def check_objective(objective: Objective) -> None:
    """Raise `InvalidInput` for a statistic that the metric does not have: only latencies have quantiles and shares."""
    if objective.statistic is not Statistic.MEAN and objective.metric not in LATENCIES:
        raise InvalidInput(f"{objective.metric} has no {objective.statistic}; only latencies have quantiles")
    if objective.share is None:
        return
    if objective.metric not in LATENCIES:
        raise InvalidInput(f"{objective.metric} has no share within a target; only latencies have one")
    if objective.statistic is not Statistic.MEAN or objective.comparison is not Comparison.LESS_THAN:
        raise InvalidInput("a share is of what is less than the target, and goes with no other statistic")
    if not 0 < objective.share < 1:
        raise InvalidInput(f"a share lies between 0 and 1, not at {objective.share}: nothing is always within a target")


def check_measurable(engine: str, objectives: Iterable[Objective]) -> None:
    """Raise `InvalidInput` for an unknown engine, or an objective that can never be judged on this one."""
    engines.spec(engine)
    for objective in objectives:
        check_objective(objective)
        reason = engines.gap(engine, needed(objective))
        if reason is not None:
            raise InvalidInput(f"{engine} cannot tell {objective.metric}: {reason}")


def slo_status(window: Window, objective: Objective, gap: str | None = None) -> SloStatus:
    """Whether the window complies. `gap` is the reason why the engine does not export the metric, where it does not."""
    return _status([window], objective, gap)


def service_slo_status(windows: Sequence[Window], objective: Objective) -> SloStatus:
    """Whether a service complies, from one window per replica; what its engine does not export cannot be told.

    Over several replicas latencies and errors are those of all requests together, throughput and queues are sums, and
    the fullest KV cache counts.
    """
    return _status(windows, objective, engines.gap(windows[0].engine, needed(objective)))


def _status(windows: Sequence[Window], objective: Objective, gap: str | None) -> SloStatus:
    check_objective(objective)
    if gap is not None:
        return SloStatus(objective, None, None, gap)
    if objective.metric in LATENCIES:
        return _latency(windows, objective)
    current = _figure(windows, objective.metric)
    if current is None:
        return SloStatus(objective, None, None, "nothing was measured in this window")
    used = current / objective.budget if objective.budget else None
    return SloStatus(objective, current, _complies(current, objective), "exact", budget_used=used)


def seen_by_all(windows: Iterable[Window], metric: Metric) -> Histogram | None:
    """What a histogram recorded in all these windows together; None where it was recorded in none."""
    return merge(part for window in windows if (part := observed(window, metric)) is not None)


def _latency(windows: Sequence[Window], objective: Objective) -> SloStatus:
    seen = seen_by_all(windows, LATENCIES[objective.metric])
    if seen is None or seen.mean is None:
        return SloStatus(objective, None, None, "nothing was measured in this window")
    if objective.share is not None:
        return _share(seen, objective, objective.share)
    q = objective.statistic.q
    if q is None:
        return SloStatus(objective, seen.mean, _complies(seen.mean, objective), "exact")
    quantile = seen.quantile(q)
    if quantile is None:
        raise AssertionError("a histogram with a mean has quantiles")
    less = objective.comparison is Comparison.LESS_THAN
    # a quantile lies above its bucket's lower edge, so a target on that edge is missed
    low = quantile.low < objective.target if less else quantile.low >= objective.target
    compliant = low if low == _complies(quantile.high, objective) else None
    reason = "its bucket decides" if compliant is not None else "the target lies inside the quantile's bucket"
    return SloStatus(
        objective, quantile.value, compliant, reason, quantile.low, None if isinf(quantile.high) else quantile.high
    )


def _share(seen: Histogram, objective: Objective, wanted: float) -> SloStatus:
    """Exact at a bucket edge, so the edge nearest to the target decides, and the reason tells which that is."""
    edge = seen.snap(objective.target)
    if isinf(edge):
        return SloStatus(objective, None, None, "no bucket edges are exported, so no share can be told")
    within = seen.share_at_or_below(edge)
    if within is None:
        raise AssertionError("a histogram with a mean has shares")
    nearest = "" if edge == objective.target else f", the bucket edge nearest to {objective.target:g} s"
    used = (1 - within) / (1 - wanted)
    reason = f"{within:.2%} within {edge:g} s{nearest}; {used:.0%} of what may miss it did"
    return SloStatus(objective, within, within >= wanted, reason, budget_used=used)


def _figure(windows: Sequence[Window], metric: SloMetric) -> float | None:
    if metric is SloMetric.ERROR_RATE:
        return error_rate(*windows)
    if metric is SloMetric.THROUGHPUT:
        known = [rate(window, Metric.GENERATION_TOKENS) for window in windows]
    else:
        known = [mean_level(window, _LEVELS[metric]) for window in windows]
    values = [value for value in known if value is not None]
    combine = max if metric is SloMetric.KV_CACHE_USAGE else sum
    return float(combine(values)) if values else None


def error_rate(*windows: Window) -> float | None:
    """Failed and rejected requests / all that ended, or None when none ended or successes are not exported."""
    counted = ended(windows)
    if counted is None:
        return None
    bad, total = counted
    return bad / total if total > 0 else None


def ended(windows: Sequence[Window]) -> tuple[float, float] | None:
    """Requests that failed or were rejected, and all that ended; None where a window does not tell successes."""
    finished = [increase(window, Metric.FINISHED) for window in windows]
    if None in finished:
        return None
    good = sum(value or 0.0 for value in finished)
    bad = sum(increase(window, metric) or 0.0 for window in windows for metric in (Metric.FAILED, Metric.REJECTED))
    return bad, good + bad


def _complies(value: float, objective: Objective) -> bool:
    if objective.comparison is Comparison.LESS_THAN:
        return value <= objective.target
    return value >= objective.target
