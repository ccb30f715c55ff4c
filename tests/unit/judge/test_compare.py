from dataclasses import replace
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.metric import Metric
from perfagent.domain.verdict import Criterion, Effectiveness, PairedWindow, Role
from perfagent.judge.compare import (
    ALPHA,
    LEAST_WINDOWS,
    REPLICA_SD,
    judge_metric,
    paired_ratio,
    unpaired_ratio,
    worst_accepted,
)
from support.noise import constant_windows, paired_windows

TTFT = Criterion(Metric.TTFT, Role.PRIMARY, 0.15)
FAILED = Criterion(Metric.FAILED, Role.GUARDRAIL, 0.0)


def only(metric: Metric, windows: tuple[PairedWindow, ...]) -> list[PairedWindow]:
    return [window for window in windows if window.metric is metric]


def test_the_estimate_is_the_geometric_mean_of_the_window_ratios() -> None:
    windows = [*constant_windows([(Metric.TTFT, 1.0, 2.0)], windows=5)]
    windows += constant_windows([(Metric.TTFT, 1.0, 0.5)], windows=5)
    estimate = paired_ratio(windows)
    assert estimate is not None
    assert estimate.ratio == pytest.approx(1.0)
    assert estimate.low < 1 < estimate.high


def test_less_throughput_is_worse() -> None:
    estimate = paired_ratio(constant_windows([(Metric.GENERATION_TOKENS, 100.0, 50.0)]))
    assert estimate is not None
    assert estimate.ratio == pytest.approx(2.0)


def test_a_canary_that_generates_nothing_is_worse_and_not_a_gap() -> None:
    silent = [replace(w, canary_count=0.0) for w in constant_windows([(Metric.GENERATION_TOKENS, 100.0, 0.0)])]
    criterion = Criterion(Metric.GENERATION_TOKENS, Role.GUARDRAIL, 0.15)
    assert judge_metric(criterion, silent, harm_floor=0.03, paired=True).result is Effectiveness.WORSE


def test_more_windows_never_shrink_the_interval_below_what_replicas_differ_by() -> None:
    estimate = paired_ratio(constant_windows([(Metric.TTFT, 1.0, 1.0)], windows=1000, replicas=(9, 1)))
    assert estimate is not None
    assert log(estimate.high) > 1.9 * REPLICA_SD


@pytest.mark.parametrize("burst", [0.01, 0.05, 0.3])
def test_the_interval_misses_as_often_as_it_says_whatever_the_noise_is_made_of(burst: float) -> None:
    missed = 0
    for seed in range(600):
        drawn = paired_windows(seed, canaries=1, baselines=1, windows=5, burst=burst, personality=REPLICA_SD)
        estimate = paired_ratio(only(Metric.TTFT, drawn))
        assert estimate is not None
        missed += (estimate.low > 1) + (estimate.high < 1)
    assert 0.5 * 2 * ALPHA < missed / 600 < 1.5 * 2 * ALPHA


def test_more_replicas_make_a_narrower_interval() -> None:
    few = paired_ratio(constant_windows([(Metric.TTFT, 1.0, 1.0)], replicas=(1, 1)))
    many = paired_ratio(constant_windows([(Metric.TTFT, 1.0, 1.0)], replicas=(20, 20)))
    assert few is not None
    assert many is not None
    assert many.high < few.high


def test_too_few_usable_windows_are_no_data() -> None:
    windows = constant_windows([(Metric.TTFT, 1.0, 9.0)], windows=LEAST_WINDOWS - 1)
    judgement = judge_metric(TTFT, windows, harm_floor=0.03, paired=True)
    assert judgement.result is Effectiveness.NO_DATA
    assert judgement.reason == "ttft_s: 4 usable windows, 5 are needed of each arm"


@pytest.mark.parametrize("missing", [{"canary": None}, {"baseline": None}, {"canary_count": 4}, {"baseline_count": 4}])
@pytest.mark.parametrize("paired", [True, False])
def test_a_window_without_enough_of_both_arms_is_not_used(missing: dict[str, float | None], paired: bool) -> None:
    windows = [replace(w, **missing) for w in constant_windows([(Metric.TTFT, 1.0, 9.0)])]  # type: ignore[arg-type]
    assert judge_metric(TTFT, windows, harm_floor=0.03, paired=paired).result is Effectiveness.NO_DATA


def test_a_wide_margin_is_not_harmed_before_it_is_passed() -> None:
    windows = constant_windows([(Metric.ITL, 0.02, 0.027)], replicas=(10, 10))
    traded, plain = (Criterion(Metric.ITL, Role.GUARDRAIL, margin) for margin in (0.5, 0.15))
    assert judge_metric(plain, windows, harm_floor=0.03, paired=True).result is Effectiveness.WORSE
    assert judge_metric(traded, windows, harm_floor=0.03, paired=True).result is Effectiveness.SAME


def test_without_a_harm_floor_only_what_lies_beyond_the_margin_is_harm() -> None:
    windows = constant_windows([(Metric.TTFT, 1.0, 1.1)])
    assert judge_metric(TTFT, windows, harm_floor=0.03, paired=False).result is Effectiveness.WORSE
    assert judge_metric(TTFT, windows, harm_floor=None, paired=False).result is Effectiveness.SAME


def test_the_margin_of_throughput_is_a_loss() -> None:
    assert worst_accepted(Criterion(Metric.GENERATION_TOKENS, Role.GUARDRAIL, 0.5)) == pytest.approx(2.0)
    assert worst_accepted(TTFT) == pytest.approx(1.15)


def test_times_below_a_millisecond_are_all_the_same() -> None:
    windows = constant_windows([(Metric.QUEUE_TIME, 0.0, 0.0004)])
    criterion = Criterion(Metric.QUEUE_TIME, Role.GUARDRAIL, 0.15)
    assert judge_metric(criterion, windows, harm_floor=0.03, paired=True).ratio == 1.0


def test_a_judgement_says_in_words_what_it_found() -> None:
    slower = judge_metric(TTFT, constant_windows([(Metric.TTFT, 1.0, 2.0)]), harm_floor=0.03, paired=True)
    assert slower.reason.startswith("ttft_s: 100.0% longer (between 8")
    assert slower.reason.endswith("10 windows): certainly worse by more than 3.0%")
    criterion = Criterion(Metric.GENERATION_TOKENS, Role.GUARDRAIL, 0.15)
    more = constant_windows([(Metric.GENERATION_TOKENS, 100.0, 150.0)])
    assert "50.0% more" in judge_metric(criterion, more, harm_floor=0.03, paired=True).reason


def test_many_times_as_much_is_told_as_a_multiple() -> None:
    far_slower = judge_metric(TTFT, constant_windows([(Metric.TTFT, 0.05, 25.0)]), harm_floor=0.03, paired=True)
    assert far_slower.reason.startswith("ttft_s: 500 times as long (between ")
    criterion = Criterion(Metric.GENERATION_TOKENS, Role.PRIMARY, 0.15)
    fourfold = constant_windows([(Metric.GENERATION_TOKENS, 100.0, 400.0)])
    assert "4 times as much" in judge_metric(criterion, fourfold, harm_floor=0.03, paired=True).reason


def shares(baseline: float, canary: float, requests: float = 1000.0) -> list[PairedWindow]:
    return [
        PairedWindow(60.0 * k, 60.0 * k + 60, Metric.FAILED, baseline, canary, requests, requests, 5, 5)
        for k in range(10)
    ]


def test_clearly_more_failures_are_harm() -> None:
    judgement = judge_metric(FAILED, shares(0.001, 0.01), harm_floor=0.03, paired=True)
    assert judgement.result is Effectiveness.WORSE
    assert judgement.reason.startswith("requests_failed: 1.00% of 10000 requests, baseline 0.10% of 10000; by chance")


def test_a_few_failures_more_are_chance() -> None:
    assert judge_metric(FAILED, shares(0.001, 0.0015), harm_floor=0.03, paired=True).result is Effectiveness.SAME
    assert judge_metric(FAILED, shares(0.0, 0.0), harm_floor=0.03, paired=True).ratio is None


def test_fewer_failures_are_no_harm() -> None:
    assert judge_metric(FAILED, shares(0.1, 0.0), harm_floor=0.03, paired=True).result is Effectiveness.SAME


def test_a_handful_of_requests_says_nothing_about_failures() -> None:
    judgement = judge_metric(FAILED, shares(0.0, 0.5, requests=1.0), harm_floor=0.03, paired=True)
    assert judgement.result is Effectiveness.NO_DATA


@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_the_unit_of_time_does_not_matter(seed: int, unit: float) -> None:
    windows = [w for w in paired_windows(seed, canaries=2, baselines=8) if w.metric is Metric.E2E]
    scaled = [replace(w, baseline=(w.baseline or 0) * unit, canary=(w.canary or 0) * unit) for w in windows]
    for estimator in (paired_ratio, unpaired_ratio):
        before, after = estimator(windows), estimator(scaled)
        assert before is not None
        assert after is not None
        assert (after.ratio, after.low, after.high) == pytest.approx((before.ratio, before.low, before.high))


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_the_windows_does_not_matter(seed: int, random: object) -> None:
    windows = only(Metric.TTFT, paired_windows(seed, canaries=2, baselines=8))
    shuffled = list(windows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for estimator in (paired_ratio, unpaired_ratio):
        before, after = estimator(windows), estimator(shuffled)
        assert before is not None
        assert after is not None
        assert (after.ratio, after.low, after.high) == pytest.approx((before.ratio, before.low, before.high))


@given(st.integers(0, 10_000))
def test_a_load_swing_that_both_arms_see_does_not_matter(seed: int) -> None:
    windows = only(Metric.TTFT, paired_windows(seed, canaries=2, baselines=8))
    swung = [
        replace(w, baseline=(w.baseline or 0) * (1 + k), canary=(w.canary or 0) * (1 + k))
        for k, w in enumerate(windows)
    ]
    before, after = paired_ratio(windows), paired_ratio(swung)
    assert before is not None
    assert after is not None
    assert (after.low, after.high) == pytest.approx((before.low, before.high))
