"""The small words: metrics, statistics, severities, effects, errors."""

import pytest

from perfagent.domain import errors
from perfagent.domain.finding import Severity
from perfagent.domain.metric import Kind, Metric
from perfagent.domain.proposal import Effect
from perfagent.domain.slo import Statistic


@pytest.mark.parametrize("metric", list(Metric))
def test_every_metric_has_a_kind(metric: Metric) -> None:
    assert metric.kind in Kind


@pytest.mark.parametrize("metric", [metric for metric in Metric if metric.endswith("_s")])
def test_what_is_measured_in_seconds_is_a_histogram(metric: Metric) -> None:
    assert metric.kind is Kind.HISTOGRAM


def test_statistics_know_their_quantile() -> None:
    assert [statistic.q for statistic in Statistic] == [None, 0.5, 0.95, 0.99]


def test_severities_are_ordered() -> None:
    assert [severity.rank for severity in Severity] == [0, 1, 2, 3]
    assert max(Severity, key=lambda severity: severity.rank) is Severity.CRITICAL


@pytest.mark.parametrize(
    ("low", "high", "direction"), [(0.5, 0.9, "down"), (1.1, 2.0, "up"), (0.9, 1.1, "either"), (1.0, 1.5, "either")]
)
def test_an_effect_has_a_direction_only_where_it_excludes_no_change(low: float, high: float, direction: str) -> None:
    assert Effect(Metric.TTFT, low, high, "rule of thumb").direction == direction


def test_every_error_is_an_agent_error() -> None:
    ours = [thing for thing in vars(errors).values() if isinstance(thing, type)]
    assert len(ours) > 10
    assert all(issubclass(error, errors.AgentError) for error in ours)
