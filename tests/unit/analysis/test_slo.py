from math import inf

import pytest

from perfagent.analysis import check_objective, slo_status
from perfagent.domain.errors import InvalidInput
from perfagent.domain.slo import Comparison, Objective, SloMetric, Statistic
from support.windows import window

SEEN = window(
    running="1x3", waiting="0 4 8", generation_tokens="0 100 300", finished="0 8 9", failed="0 1 1", rejected="0 0 0",
    ttft=[[0.2, 0.4], [0.9]], every_s=10.0,
)  # fmt: skip


def test_a_mean_latency_is_exact_and_decides() -> None:
    status = slo_status(SEEN, Objective(SloMetric.TTFT, 0.5))
    assert status.current == pytest.approx(0.5)
    assert status.compliant is True


def test_a_quantile_decides_only_when_its_bucket_lies_on_one_side() -> None:
    inside = slo_status(SEEN, Objective(SloMetric.TTFT, 0.8, statistic=Statistic.P95))
    above = slo_status(SEEN, Objective(SloMetric.TTFT, 0.3, statistic=Statistic.P95))
    assert inside.compliant is None
    assert (inside.low, inside.high) == (0.5, 1.0)
    assert above.compliant is False


def test_a_target_on_a_bucket_edge_is_always_decided() -> None:
    objectives = [Objective(SloMetric.TTFT, target, statistic=Statistic.P95) for target in (0.5, 1.0)]
    assert [slo_status(SEEN, objective).compliant for objective in objectives] == [False, True]


def test_a_share_within_a_bucket_edge_is_exact_and_tells_the_budget() -> None:
    kept, broken = (slo_status(SEEN, Objective(SloMetric.TTFT, 0.5, share=share)) for share in (0.6, 0.9))
    assert (kept.compliant, broken.compliant) == (True, False)
    assert kept.current == pytest.approx(2 / 3)
    assert kept.budget_used == pytest.approx((1 / 3) / 0.4)
    assert broken.reason == "66.67% within 0.5 s; 333% of what may miss it did"


def test_a_share_is_judged_at_the_nearest_edge_and_says_so() -> None:
    status = slo_status(SEEN, Objective(SloMetric.TTFT, 0.6, share=0.6))
    assert status.reason.startswith("66.67% within 0.5 s, the bucket edge nearest to 0.6 s")


def test_a_share_cannot_be_told_where_the_engine_shows_no_bucket_edges() -> None:
    seen = window(ttft=[[0.2, 9.0]], edges={"ttft": [inf]})
    status = slo_status(seen, Objective(SloMetric.TTFT, 0.5, share=0.6))
    assert (status.current, status.compliant, status.budget_used) == (None, None, None)
    assert "no bucket edges" in status.reason


def test_an_error_rate_tells_its_budget_too() -> None:
    assert slo_status(SEEN, Objective(SloMetric.ERROR_RATE, 0.2)).budget_used == pytest.approx(0.5)
    assert slo_status(SEEN, Objective(SloMetric.ERROR_RATE, 0.0)).budget_used is None
    assert slo_status(SEEN, Objective(SloMetric.THROUGHPUT, 20)).budget_used is None


@pytest.mark.parametrize(
    "objective",
    [
        Objective(SloMetric.ERROR_RATE, 0.1, share=0.9),
        Objective(SloMetric.TTFT, 0.5, share=0.9, statistic=Statistic.P95),
        Objective(SloMetric.TTFT, 0.5, Comparison.GREATER_THAN, share=0.9),
        Objective(SloMetric.TTFT, 0.5, share=1.0),
    ],
)
def test_a_share_that_cannot_be_meant_is_refused(objective: Objective) -> None:
    with pytest.raises(InvalidInput, match="share"):
        check_objective(objective)


def test_throughput_is_tokens_per_second_of_the_window() -> None:
    status = slo_status(SEEN, Objective(SloMetric.THROUGHPUT, 20, Comparison.GREATER_THAN))
    assert status.current == pytest.approx(15)
    assert status.compliant is False


def test_the_error_rate_counts_failures_among_all_that_ended() -> None:
    assert slo_status(SEEN, Objective(SloMetric.ERROR_RATE, 0.2)).current == pytest.approx(0.1)


def test_queue_size_is_its_mean_over_the_scrapes() -> None:
    assert slo_status(SEEN, Objective(SloMetric.QUEUE_SIZE, 5)).current == pytest.approx(4)


def test_what_the_engine_does_not_export_is_neither_kept_nor_broken() -> None:
    status = slo_status(SEEN, Objective(SloMetric.TTFT, 0.5), "tgi exports no TTFT")
    assert (status.compliant, status.reason) == (None, "tgi exports no TTFT")


def test_what_was_not_measured_is_neither_kept_nor_broken() -> None:
    assert slo_status(SEEN, Objective(SloMetric.ITL, 0.5)).compliant is None


def test_only_latencies_have_quantiles() -> None:
    with pytest.raises(InvalidInput, match="throughput has no p95"):
        check_objective(Objective(SloMetric.THROUGHPUT, 1, statistic=Statistic.P95))
