"""How fast error budgets are spent, and when that is worth an alert: several windows, several burn rates.

A rule fires while the budget burns at least by its factor over a long window, so that a short spike is forgiven, and
over a short one too, so that it ends soon after its cause. The rules and their source are in `burn_rates.toml`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from math import isinf

from perfagent.analysis.slo import LATENCIES, check_objective, ended, seen_by_all
from perfagent.domain.metric import Metric
from perfagent.domain.slo import (
    Alert,
    AlertSeverity,
    BurnRate,
    BurnRule,
    Comparison,
    ErrorBudget,
    Objective,
    SloMetric,
    window_name,
)
from perfagent.domain.window import Window, increase

LEAST_BAD_REQUESTS = 5
"""Bad requests in the long window below which nothing fires, however few requests there were in all.

Where requests are few, a single bad one burns the budget many times as fast as it may. Of a service that just keeps its
objective, with bad requests that come independently of each other, five in one long window page by chance less than
once in four periods of 30 days, whatever its traffic (Poisson, windows side by side); with three it is twice in each.
"""

_DATA = tomllib.loads(files("perfagent.analysis").joinpath("burn_rates.toml").read_text("utf-8"))
PERIOD_S = float(_DATA["period_s"])
"""The time for which a budget is meant: an even burn rate of 1 spends it in just this time."""
SOURCE = str(_DATA["source"])
"""Where the rules come from."""
BURN_RULES = tuple(
    BurnRule(AlertSeverity(each["severity"]), float(each["long_s"]), float(each["short_s"]), float(each["factor"]))
    for each in _DATA["rules"]
)
"""The most urgent first."""


def error_budget(objective: Objective, pasts: Mapping[BurnRule, Sequence[Window]], now_s: float) -> ErrorBudget:
    """How fast an objective's error budget is spent at `now_s`, and which of the rules in `pasts` fire.

    For each rule `pasts` holds one window per replica over the rule's long window, or as much of it as is recorded; a
    scrape near the beginning of the short window must be among its snapshots. Events of all replicas count together.
    """
    check_objective(objective)
    budget = objective.budget
    if budget is None:
        return ErrorBudget(objective, None, (), _without(objective))
    alerts = tuple(_alert(objective, budget, rule, windows, now_s) for rule, windows in pasts.items())
    edge_s = next((alert.long.edge_s for alert in alerts if alert.long.edge_s is not None), None)
    snapped = edge_s is not None and edge_s != objective.target
    reason = f"counted at {edge_s:g} s, the bucket edge nearest to {objective.target:g} s" if snapped else ""
    return ErrorBudget(objective, budget, alerts, reason)


def _without(objective: Objective) -> str:
    if objective.metric is not SloMetric.ERROR_RATE:
        return "no error budget: only an error rate and a share of a latency's observations count good and bad events"
    if objective.comparison is Comparison.GREATER_THAN:
        return "no error budget: an error rate is to be kept below its target"
    return f"no error budget: a target of {objective.target:g} lets {'none' if objective.target <= 0 else 'all'} fail"


def _alert(objective: Objective, budget: float, rule: BurnRule, windows: Sequence[Window], now_s: float) -> Alert:
    lately = [part for window in windows if (part := window.between(now_s - rule.short_s, now_s)) is not None]
    long = _burn_rate(windows, objective, budget, rule.long_s)
    short = _burn_rate(lately, objective, budget, rule.short_s)
    against = _speaks_against(rule, long, short, budget)
    return Alert(rule, long, short, against is None, against or f"burns {_times(long)} and {_times(short)}")


def _speaks_against(rule: BurnRule, long: BurnRate, short: BurnRate, budget: float) -> str | None:
    """Why the rule does not fire, or None when it does."""
    if rule.factor * budget > 1:
        return f"cannot fire: with every event bad the budget burns {1 / budget:.3g} times as fast as it may"
    for burn in (long, short):
        if burn.rate is None:
            return f"nothing was measured over {window_name(burn.window_s)}"
    for burn in (long, short):
        if burn.rate is not None and burn.rate < rule.factor:
            return f"burns {_times(burn)}; {rule.factor:g} times are too fast"
    if min(long.bad, long.requests) < LEAST_BAD_REQUESTS:
        return f"burns {_times(long)}, but that is fewer than {LEAST_BAD_REQUESTS} bad requests"
    return None


def _times(burn: BurnRate) -> str:
    return f"{burn.rate or 0.0:.3g} times as fast as it may over {window_name(burn.window_s)}"


def _burn_rate(windows: Sequence[Window], objective: Objective, budget: float, window_s: float) -> BurnRate:
    known = [window for window in windows if window.span_s > 0]
    covers_s = max(w.end_s for w in known) - min(w.start_s for w in known) if known else 0.0
    bad, events, edge_s = _counted(known, objective)
    requests = _requests(known) if objective.metric is SloMetric.ITL else None
    rate = bad / (events * budget) if events > 0 else None
    return BurnRate(window_s, covers_s, events, bad, rate, events if requests is None else requests, edge_s)


def _counted(windows: Sequence[Window], objective: Objective) -> tuple[float, float, float | None]:
    """Bad events, all events, and for latencies the bucket edge that parts them: there the count is exact.

    A replica that tells no successes is left out: some engines tell none before the first, some old releases none ever.
    """
    if objective.metric is SloMetric.ERROR_RATE:
        telling = [window for window in windows if increase(window, Metric.FINISHED) is not None]
        bad, total = ended(telling) or (0.0, 0.0)
        return bad, total, None
    seen = seen_by_all(windows, LATENCIES[objective.metric])
    edge_s = None if seen is None else seen.snap(objective.target)
    if seen is None or edge_s is None or isinf(edge_s):
        return 0.0, 0.0, None
    return seen.count - seen.cumulative[seen.edges.index(edge_s)], seen.count, edge_s


def _requests(windows: Sequence[Window]) -> float | None:
    """How many requests began or ended, whichever are more; None where neither is exported."""
    seen = [seen_by_all(windows, metric) for metric in (Metric.TTFT, Metric.E2E)]
    return max((each.count for each in seen if each is not None), default=None)
