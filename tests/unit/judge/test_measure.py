from math import inf

import numpy as np
import pytest

from perfagent.domain.histogram import Histogram
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Labels, Snapshot
from perfagent.domain.window import Window
from perfagent.judge.measure import logs, measure, measure_stretches

SPANS = [(0.0, 30.0), (30.0, 60.0)]


def page(
    target: str,
    at_s: float,
    *,
    count: float = 0.0,
    total: float = 0.0,
    tokens: float | None = None,
    finished: float | None = None,
    failed: float | None = None,
    started_at_s: float | None = None,
) -> Snapshot:
    counters = {Metric.GENERATION_TOKENS: tokens, Metric.FINISHED: finished, Metric.FAILED: failed}
    scalars: dict[Metric, dict[Labels, float]] = {m: {(): value} for m, value in counters.items() if value is not None}
    histograms: dict[Metric, dict[Labels, Histogram]] = {Metric.TTFT: {(): Histogram((inf,), (count,), total)}}
    return Snapshot(target, "vllm", at_s, scalars, histograms, started_at_s=started_at_s)


def steady(target: str, *, mean_s: float, per_10s: float = 10.0, until_s: int = 60) -> Window:
    times = range(0, until_s + 1, 10)
    counts = [at_s / 10 * per_10s for at_s in times]
    return Window(
        tuple(
            page(target, float(at_s), count=n, total=n * mean_s, tokens=n * 5)
            for at_s, n in zip(times, counts, strict=True)
        )
    )


def test_the_figure_is_the_exact_mean_over_all_requests_of_the_arm() -> None:
    busy, calm = steady("a", mean_s=1.0, per_10s=30), steady("b", mean_s=2.0, per_10s=10)
    first, _ = measure([busy, calm], [steady("c", mean_s=3.0)], [Metric.TTFT], SPANS)
    assert first.baseline == pytest.approx((30 * 1.0 + 10 * 2.0) / 40)
    assert (first.baseline_count, first.baseline_replicas) == (120, 2)
    assert first.canary == pytest.approx(3.0)


def test_nothing_falls_between_two_windows() -> None:
    figures = measure([steady("a", mean_s=1.0)], [steady("c", mean_s=1.0)], [Metric.TTFT], [(0.0, 35.0), (35.0, 60.0)])
    assert [each.baseline_count for each in figures] == [30, 30]


def test_nothing_from_before_the_first_window_is_used() -> None:
    (only,) = measure([steady("a", mean_s=1.0)], [steady("c", mean_s=1.0)], [Metric.TTFT], [(25.0, 60.0)])
    assert only.baseline_count == 30


def test_throughput_is_tokens_per_second_and_replica() -> None:
    arm = [steady("a", mean_s=1.0, per_10s=10), steady("b", mean_s=1.0, per_10s=30)]
    first, _ = measure(arm, [steady("c", mean_s=1.0)], [Metric.GENERATION_TOKENS], SPANS)
    assert first.baseline == pytest.approx((5.0 + 15.0) / 2)


def test_a_replica_that_restarted_in_a_window_is_left_out_of_that_window_only() -> None:
    calm = Window(tuple(page("a", t, count=t, total=t, started_at_s=0.0) for t in (0.0, 10.0, 20.0, 30.0, 40.0, 50.0)))
    restarted = Window(
        tuple(page("b", t, count=t, total=9 * t, started_at_s=15.0 if t > 15 else 0.0) for t in (0.0, 10.0, 20.0))
        + tuple(page("b", t, count=t, total=9 * t, started_at_s=15.0) for t in (30.0, 40.0, 50.0))
    )
    first, second = measure([calm, restarted], [steady("c", mean_s=1.0)], [Metric.TTFT], SPANS)
    assert (first.baseline, first.baseline_replicas) == (1.0, 1)
    assert (second.baseline, second.baseline_replicas) == (5.0, 2)


def test_an_arm_of_which_less_than_half_is_seen_has_no_figure() -> None:
    arm = [steady(each, mean_s=1.0, until_s=60 if each == "a" else 20) for each in "abc"]
    first, second = measure(arm, [steady("c", mean_s=1.0)], [Metric.TTFT], SPANS)
    assert first.baseline == 1.0
    assert second.baseline is None


def test_a_window_with_scrapes_for_less_than_half_of_it_has_no_figure() -> None:
    sparse = Window((page("a", 0.0), page("a", 10.0, count=5, total=5), page("a", 60.0, count=30, total=30)))
    first, second = measure([sparse], [steady("c", mean_s=1.0)], [Metric.TTFT], SPANS)
    assert first.baseline is None
    assert second.baseline is None


def test_shares_are_of_all_requests_that_ended() -> None:
    pages = [page("a", 0.0, finished=0, failed=0), page("a", 15.0, finished=30, failed=5)]
    window = Window((*pages, page("a", 30.0, finished=90, failed=10)))
    (only,) = measure([window], [window], [Metric.FAILED], SPANS[:1])
    assert (only.canary, only.canary_count) == (0.1, 100)


def test_failures_that_no_page_shows_yet_are_none_where_finished_requests_are_counted() -> None:
    counted = Window(tuple(page("a", t, finished=t) for t in (0.0, 15.0, 30.0)))
    uncounted = Window(tuple(page("b", t) for t in (0.0, 15.0, 30.0)))
    (only,) = measure([counted], [uncounted], [Metric.FAILED], SPANS[:1])
    assert only.baseline == 0.0
    assert only.canary is None


def test_a_metric_that_the_page_lacks_has_no_figure() -> None:
    window = steady("a", mean_s=1.0)
    (itl,) = measure([window], [window], [Metric.ITL], SPANS[:1])
    (rejected,) = measure([window], [window], [Metric.REJECTED], SPANS[:1])
    tokenless = Window(tuple(page("a", t) for t in (0.0, 15.0, 30.0)))
    (tokens,) = measure([tokenless], [tokenless], [Metric.GENERATION_TOKENS], SPANS[:1])
    assert itl.baseline is itl.canary is rejected.canary is tokens.canary is None


def test_the_past_is_cut_into_stretches_from_one_snapshot_in_each() -> None:
    sparse = Window(tuple(page("a", at_s, count=at_s, total=2 * at_s) for at_s in (3.0, 31.0, 62.0, 85.0)))
    figures = measure_stretches([sparse], (), [Metric.TTFT], 0.0, 30.0)
    assert [(each.start_s, each.end_s, each.baseline, each.canary) for each in figures] == [
        (0.0, 30.0, 2.0, None),
        (30.0, 60.0, 2.0, None),
        (60.0, 90.0, 2.0, None),
    ]
    assert [each.baseline_count for each in figures] == [28.0, 31.0, 23.0]


def test_a_stretch_that_is_hardly_covered_or_was_before_a_restart_is_left_out() -> None:
    times = (0.0, 30.0, 60.0, 62.0)
    brief = Window(tuple(page("a", at_s, count=at_s, total=at_s) for at_s in times))
    assert [each.start_s for each in measure_stretches([brief], (), [Metric.TTFT], 0.0, 30.0)] == [0.0, 30.0]
    born = Window(tuple(page("a", t, count=t, total=t, started_at_s=25.0 if t else 0.0) for t in times))
    assert [each.start_s for each in measure_stretches([born], (), [Metric.TTFT], 0.0, 30.0)] == [30.0]


def test_logs_are_by_replica_and_stretch_with_gaps_where_nothing_was_seen() -> None:
    late = Window(tuple(page("b", at_s, count=at_s, total=4 * at_s) for at_s in (30.0, 60.0)))
    early = Window(tuple(page("a", at_s, count=at_s, total=2 * at_s) for at_s in (0.0, 30.0, 60.0)))
    found = logs([early, late], [Metric.TTFT, Metric.ITL], 0.0, 30.0)
    assert np.exp(found[Metric.TTFT][0, :2]) == pytest.approx([2.0, 2.0])
    assert np.isnan(found[Metric.TTFT][1, 0])
    assert np.exp(found[Metric.TTFT][1, 1]) == pytest.approx(4.0)
    assert np.isnan(found[Metric.ITL]).all()


def working(target: str, *figures: tuple[float, float, float, float, float]) -> Window:
    """(finished, running, waiting, prompt tokens asked for, of these in the prefix cache) every ten seconds."""
    return Window(
        tuple(
            Snapshot(
                target,
                "vllm",
                10.0 * k,
                {
                    Metric.FINISHED: {(): finished},
                    Metric.RUNNING: {(): running},
                    Metric.WAITING: {(): waiting},
                    Metric.PREFIX_QUERIES: {(): queries},
                    Metric.PREFIX_HITS: {(): hits},
                },
                {},
            )
            for k, (finished, running, waiting, queries, hits) in enumerate(figures)
        )
    )


def test_requests_that_came_are_those_that_ended_and_those_that_still_wait() -> None:
    slow = working("a", (0, 4, 0, 0, 0), (10, 4, 20, 0, 0), (20, 4, 40, 0, 0), (30, 4, 60, 0, 0))
    quick = working("b", (0, 4, 0, 0, 0), (30, 4, 0, 0, 0), (60, 4, 0, 0, 0), (90, 4, 0, 0, 0))
    (only,) = measure([slow], [quick], [Metric.FINISHED], SPANS[:1])
    assert (only.baseline, only.canary) == (3.0, 3.0)


def test_what_the_prefix_cache_did_not_save_is_a_share_of_the_prompts() -> None:
    window = working("a", (0, 0, 0, 0, 0), (1, 0, 0, 400, 100), (2, 0, 0, 800, 200))
    idle = working("b", (0, 0, 0, 0, 0), (1, 0, 0, 0, 0), (2, 0, 0, 0, 0))
    (only,) = measure([window], [idle], [Metric.PREFIX_HITS], SPANS[:1])
    assert (only.baseline, only.baseline_count) == (0.75, 800)
    assert only.canary is None
