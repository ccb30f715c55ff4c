from dataclasses import replace
from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.metric import Metric
from perfagent.domain.verdict import (
    NO_PAST,
    Criterion,
    Effectiveness,
    Judgement,
    Look,
    Noise,
    PairedWindow,
    Quiet,
    Role,
)
from perfagent.judge.compare import (
    LEAST_WINDOWS,
    PROMOTE_ALPHA,
    REDRAWN,
    Estimate,
    Figures,
    against_others,
    against_own_past,
    estimate,
    judge_metrics,
    promote_spent,
    spread,
    trust,
    worst_accepted,
)
from perfagent.judge.noise import PRIOR_PERMANENT_SD, prior
from support.noise import constant_windows, paired_windows

TTFT = Criterion(Metric.TTFT, Role.PRIMARY, 0.15)
LOOK = Look(1, 3, 3)
NOISE = replace(prior(Metric.TTFT), stretch_s=300.0)
CALM = Noise(Metric.TTFT, 0.001, inf, 0.001, inf, 0.001, inf, 0.001, inf, 0.001, 6, 300.0)
"""A fleet without noise."""


def only(metric: Metric, windows: tuple[PairedWindow, ...]) -> list[PairedWindow]:
    return [window for window in windows if window.metric is metric]


def others(windows: list[PairedWindow] | tuple[PairedWindow, ...], past: tuple[PairedWindow, ...] = ()) -> Estimate:
    found = against_others(windows, past, NOISE)
    assert found is not None
    return found


def own(windows: list[PairedWindow] | tuple[PairedWindow, ...]) -> Estimate:
    found = against_own_past(windows, windows, NOISE)
    assert found is not None
    return found


def judged(
    criterion: Criterion,
    windows: tuple[PairedWindow, ...] | list[PairedWindow],
    *,
    harm_floor: float | None = 0.03,
    paired: bool = True,
    noise: Noise = CALM,
) -> Judgement:
    quiet = Quiet((replace(noise, metric=criterion.metric),), 10, 72, 300.0)
    figures = Figures(windows, () if paired else windows, quiet, paired)
    (judgement,) = judge_metrics([criterion], figures, LOOK, harm_floor=harm_floor)
    return judgement


def test_the_estimate_is_the_geometric_mean_of_the_window_ratios() -> None:
    windows = [*constant_windows([(Metric.TTFT, 1.0, 2.0)], windows=5)]
    windows += constant_windows([(Metric.TTFT, 1.0, 0.5)], windows=5)
    assert others(windows).centre == pytest.approx(0.0)
    assert others(windows).bound(-1.0) < 1 < others(windows).bound(1.0)


def test_less_throughput_is_worse() -> None:
    assert exp(others(constant_windows([(Metric.GENERATION_TOKENS, 100.0, 50.0)])).centre) == pytest.approx(2.0)


def test_a_canary_that_generates_nothing_is_worse_and_not_a_gap() -> None:
    silent = [replace(w, canary_count=0.0) for w in constant_windows([(Metric.GENERATION_TOKENS, 100.0, 0.0)])]
    criterion = Criterion(Metric.GENERATION_TOKENS, Role.GUARDRAIL, 0.15)
    assert judged(criterion, silent).result is Effectiveness.WORSE


def test_more_windows_never_shrink_the_variance_below_what_replicas_differ_by() -> None:
    found = others(constant_windows([(Metric.TTFT, 1.0, 1.0)], windows=1000, replicas=(9, 1)))
    assert found.variance > PRIOR_PERMANENT_SD**2


def test_more_replicas_make_a_narrower_interval() -> None:
    few = others(constant_windows([(Metric.TTFT, 1.0, 1.0)], replicas=(1, 1)))
    many = others(constant_windows([(Metric.TTFT, 1.0, 1.0)], replicas=(20, 20)))
    assert many.bound(2.0) < few.bound(2.0)


def test_what_the_arms_differed_by_before_is_taken_off_as_far_as_it_is_for_good() -> None:
    before = constant_windows([(Metric.TTFT, 1.0, 1.2)], windows=12, replicas=(9, 1))
    after = constant_windows([(Metric.TTFT, 1.0, 1.2)], replicas=(9, 1))
    for passing, left in ((0.0001, 0.0), (10.0, log(1.2))):
        noise = replace(NOISE, mood_sd=passing)
        found = against_others(after, before, noise)
        assert found is not None
        assert found.centre == pytest.approx(left, abs=0.001)
    assert others(after).centre == pytest.approx(log(1.2))


@given(st.floats(0.01, 0.2), st.floats(0.0, 0.2), st.floats(0.0, 0.2), st.integers(1, 12))
def test_a_past_never_makes_the_comparison_wider_but_by_what_a_restart_draws_anew(
    permanent: float, slow: float, fast: float, stretches: int
) -> None:
    noise = replace(NOISE, permanent_sd=permanent, mood_sd=slow, fast_sd=fast)
    with_past, without = (sum(v for v, _ in spread(noise, 600.0, past, 1, 9)) for past in (stretches, 0))
    redrawn = REDRAWN * trust(noise, stretches) * permanent**2
    assert with_past <= (without + redrawn) * (1 + 1e-9)


@pytest.mark.parametrize("canaries", [1, 5])
def test_the_variance_is_that_of_drawn_fleets(canaries: int) -> None:
    """Offsets that restarts partly redraw, moods and bursts; the estimate scatters as much as it says."""
    rng, fleets = np.random.default_rng(1), 3000
    noise = Noise(Metric.TTFT, 0.08, inf, (0.02**2 + 0.03**2 / 6) ** 0.5, inf, 0.03, inf, 0.1, inf, 0.1, 6, 300.0)
    kept = 1 - REDRAWN / 2
    offset = rng.normal(0, noise.permanent_sd, (fleets, 10))
    fresh = rng.normal(0, noise.permanent_sd, (fleets, 10))
    later = offset.copy()
    later[:, :canaries] = (kept * offset + (1 - kept**2) ** 0.5 * fresh)[:, :canaries]
    means = []
    for level, per_mean in ((offset, 6.0), (later, 2.0)):
        mood = rng.normal(0, 0.02, (fleets, 10))
        rest = rng.normal(0, noise.fast_sd / per_mean**0.5, (fleets, 10))
        arms = level + mood + rest
        means.append(arms[:, :canaries].mean(axis=1) - arms[:, canaries:].mean(axis=1))
    found = means[1] - trust(noise, 6) * means[0]
    reckoned = sum(variance for variance, _ in spread(noise, 600.0, 6, canaries, 10 - canaries))
    assert found.var() == pytest.approx(reckoned, rel=0.1)


def test_windows_that_scatter_more_than_the_past_did_widen_the_interval() -> None:
    steady = constant_windows([(Metric.TTFT, 1.0, 1.0)])
    restless = [replace(w, canary=2.0 if k % 2 else 0.5) for k, w in enumerate(steady)]
    assert others(restless).variance > 10 * others(steady).variance


def test_bounds_and_strength_are_two_sides_of_one_test() -> None:
    found = Estimate(log(1.1), 0.01, 7.0, 10)
    for z in (-2.5, -1.0, 1.0, 2.5):
        assert found.strength(log(found.bound(z))) == pytest.approx(-z, abs=1e-6)
    assert found.bound(-2.0) < 1.1 < found.bound(2.0)


def test_the_chance_of_a_wrong_promotion_is_spent_look_by_look() -> None:
    used = [promote_spent(Look(number, 3, 3)) for number in (1, 2, 3)]
    assert used == sorted(used)
    assert used[-1] == pytest.approx(PROMOTE_ALPHA)


def test_too_few_usable_windows_are_no_data() -> None:
    judgement = judged(TTFT, constant_windows([(Metric.TTFT, 1.0, 9.0)], windows=LEAST_WINDOWS - 1))
    assert judgement.result is Effectiveness.NO_DATA
    assert judgement.reason == "ttft_s: 4 usable windows, 5 are needed of each arm"


def test_without_others_and_without_a_past_there_is_nothing_to_compare_with() -> None:
    figures = Figures(constant_windows([(Metric.TTFT, 1.0, 1.0)]), (), NO_PAST, paired=False)
    (judgement,) = judge_metrics([TTFT], figures, LOOK, harm_floor=None)
    assert judgement.result is Effectiveness.NO_DATA
    assert judgement.reason == "ttft_s: nothing is known of the same replicas before the change"


@pytest.mark.parametrize("missing", [{"canary": None}, {"baseline": None}, {"canary_count": 4}, {"baseline_count": 4}])
@pytest.mark.parametrize("paired", [True, False])
def test_a_window_without_enough_of_both_arms_is_not_used(missing: dict[str, float | None], paired: bool) -> None:
    windows = [replace(w, **missing) for w in constant_windows([(Metric.TTFT, 1.0, 9.0)])]  # type: ignore[arg-type]
    assert judged(TTFT, windows, paired=paired).result is Effectiveness.NO_DATA


def test_a_wide_margin_is_not_harmed_before_it_is_passed() -> None:
    windows = constant_windows([(Metric.ITL, 0.02, 0.027)], replicas=(10, 10))
    traded, plain = (Criterion(Metric.ITL, Role.GUARDRAIL, margin) for margin in (0.5, 0.15))
    assert judged(plain, windows).result is Effectiveness.WORSE
    assert judged(traded, windows).result is Effectiveness.SAME


def test_without_a_harm_floor_only_what_lies_beyond_the_margin_is_harm() -> None:
    windows = constant_windows([(Metric.TTFT, 1.0, 1.1)])
    assert judged(TTFT, windows).result is Effectiveness.WORSE
    assert judged(TTFT, windows, harm_floor=None).result is Effectiveness.SAME


def test_claims_that_hold_one_by_one_but_not_together_are_not_made() -> None:
    metrics = (Metric.TTFT, Metric.ITL, Metric.E2E)
    windows = constant_windows([(metric, 1.0, 1.0) for metric in metrics], replicas=(20, 20))
    criteria = [Criterion(metric, Role.GUARDRAIL, 0.15) for metric in metrics]
    found = estimate(Metric.TTFT, Figures(windows, (), NO_PAST, paired=True))
    assert found is not None

    def results(z: float) -> set[Effectiveness]:
        """With margins that each lie so far beyond the estimate."""
        near = [replace(each, margin=found.bound(z) - 1) for each in criteria]
        figures = Figures(windows, (), NO_PAST, paired=True)
        return {each.result for each in judge_metrics(near, figures, LOOK, harm_floor=None)}

    assert results(2.7) == {Effectiveness.UNCLEAR}
    assert results(3.2) == {Effectiveness.SAME}


def test_the_margin_of_throughput_is_a_loss() -> None:
    assert worst_accepted(Criterion(Metric.GENERATION_TOKENS, Role.GUARDRAIL, 0.5)) == pytest.approx(2.0)
    assert worst_accepted(TTFT) == pytest.approx(1.15)


def test_times_below_a_millisecond_are_all_the_same() -> None:
    windows = constant_windows([(Metric.QUEUE_TIME, 0.0, 0.0004)])
    criterion = Criterion(Metric.QUEUE_TIME, Role.GUARDRAIL, 0.15)
    assert judged(criterion, windows).ratio == 1.0


def test_a_judgement_says_in_words_what_it_found() -> None:
    slower = judged(TTFT, constant_windows([(Metric.TTFT, 1.0, 2.0)]))
    assert slower.reason.startswith("ttft_s: 100.0% longer (between 9")
    assert slower.reason.endswith("10 windows): certainly worse by more than 3.0%")
    criterion = Criterion(Metric.GENERATION_TOKENS, Role.GUARDRAIL, 0.15)
    more = constant_windows([(Metric.GENERATION_TOKENS, 100.0, 150.0)])
    assert "50.0% more" in judged(criterion, more).reason


def test_many_times_as_much_is_told_as_a_multiple() -> None:
    far_slower = judged(TTFT, constant_windows([(Metric.TTFT, 0.05, 25.0)]))
    assert far_slower.reason.startswith("ttft_s: 500 times as long (between ")
    criterion = Criterion(Metric.GENERATION_TOKENS, Role.PRIMARY, 0.15)
    fourfold = constant_windows([(Metric.GENERATION_TOKENS, 100.0, 400.0)])
    assert "4 times as much" in judged(criterion, fourfold).reason


@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_the_unit_of_time_does_not_matter(seed: int, unit: float) -> None:
    windows = [w for w in paired_windows(seed, canaries=2, baselines=8) if w.metric is Metric.E2E]
    scaled = [replace(w, baseline=(w.baseline or 0) * unit, canary=(w.canary or 0) * unit) for w in windows]
    for estimator in (others, own):
        before, after = estimator(windows), estimator(scaled)
        assert (after.centre, after.variance) == pytest.approx((before.centre, before.variance), abs=1e-9)


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_the_windows_does_not_matter(seed: int, random: object) -> None:
    windows = only(Metric.TTFT, paired_windows(seed, canaries=2, baselines=8))
    shuffled = list(windows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for estimator in (others, own):
        before, after = estimator(windows), estimator(shuffled)
        assert (after.centre, after.variance) == pytest.approx((before.centre, before.variance), abs=1e-9)


@given(st.integers(0, 10_000))
def test_a_load_swing_that_both_arms_see_does_not_matter(seed: int) -> None:
    windows = only(Metric.TTFT, paired_windows(seed, canaries=2, baselines=8))
    swung = [
        replace(w, baseline=(w.baseline or 0) * (1 + k), canary=(w.canary or 0) * (1 + k))
        for k, w in enumerate(windows)
    ]
    before, after = others(windows), others(swung)
    assert (after.centre, after.variance) == pytest.approx((before.centre, before.variance), abs=1e-9)
