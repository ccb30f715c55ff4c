"""Windows absorb restarts, missed scrapes and series that come and go."""

from dataclasses import dataclass, replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.errors import InvalidInput
from perfagent.domain.histogram import Histogram
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Labels, Snapshot
from perfagent.domain.window import (
    Window,
    gaps,
    increase,
    levels,
    lifetime,
    mean_level,
    observed,
    rate,
    resets,
    since_restart,
)
from support.windows import START_S, histogram, window

EDGES = (0.5, 1.0, 10.0, inf)
RANKS: tuple[Labels, ...] = ((("engine", "0"),), (("engine", "1"),), (("engine", "2"),))


@dataclass(frozen=True)
class Interval:
    """What happens between two scrapes that are due."""

    restart: bool
    """The server restarts at the beginning; whatever it had not yet shown is lost."""
    requests: tuple[tuple[float, ...], ...]
    """By rank: how long each request took that finished since."""
    scraped: bool
    """Whether the scrape at the end succeeds."""


DURATIONS = st.lists(st.sampled_from([0.1, 0.7, 3.0, 50.0, 99.0]), max_size=5).map(tuple)
INTERVALS = st.lists(
    st.builds(
        Interval, st.sampled_from([False, False, True]), st.tuples(DURATIONS, DURATIONS, DURATIONS), st.booleans()
    ),
    min_size=1,
    max_size=10,
)


def played(intervals: list[Interval], *, tells_its_start: bool) -> tuple[Window, list[float]]:
    """What the scraper sees of a server with this history, and what really happened and could be seen."""
    seen: list[list[float]] = [[], [], []]
    pending: list[float] = []
    happened: list[float] = []
    started_s = START_S - 1000
    snapshots = [_page(seen, START_S, started_s if tells_its_start else None)]
    for turn, interval in enumerate(intervals, start=1):
        at_s = START_S + 5 * turn
        if interval.restart:
            seen, pending, started_s = [[], [], []], [], at_s - 4
        for rank, durations in enumerate(interval.requests):
            seen[rank] = [*seen[rank], *durations]
            pending += durations
        if interval.scraped:
            snapshots.append(_page(seen, at_s, started_s if tells_its_start else None))
            happened += pending
            pending = []
    return Window(tuple(snapshots)), happened


def _page(seen: list[list[float]], at_s: float, started_at_s: float | None) -> Snapshot:
    ranks = list(zip(RANKS, seen, strict=True))
    scalars = {Metric.GENERATION_TOKENS: {rank: float(len(samples)) for rank, samples in ranks}}
    histograms = {Metric.E2E: {rank: histogram(samples, EDGES) for rank, samples in ranks}}
    return Snapshot("r1", "vllm", at_s, scalars, histograms, {}, started_at_s)


@given(INTERVALS)
def test_figures_are_what_happened_through_restarts_and_missed_scrapes(intervals: list[Interval]) -> None:
    seen, happened = played(intervals, tells_its_start=True)
    if len(seen.snapshots) == 1:
        assert increase(seen, Metric.GENERATION_TOKENS) is None
        assert observed(seen, Metric.E2E) is None
        return
    assert increase(seen, Metric.GENERATION_TOKENS) == len(happened)
    assert rate(seen, Metric.GENERATION_TOKENS) == pytest.approx(len(happened) / seen.span_s)
    inside = observed(seen, Metric.E2E)
    assert inside is not None
    assert inside.cumulative == histogram(happened, EDGES).cumulative
    assert inside.total == pytest.approx(sum(happened))


@given(INTERVALS)
def test_a_server_that_hides_its_start_is_never_credited_with_more_than_happened(intervals: list[Interval]) -> None:
    seen, happened = played(intervals, tells_its_start=False)
    assert (increase(seen, Metric.GENERATION_TOKENS) or 0) <= len(happened)
    inside = observed(seen, Metric.E2E)
    assert inside is None or (inside.count <= len(happened) and inside.total >= 0)


@given(INTERVALS)
def test_every_restart_between_two_scrapes_is_counted_once(intervals: list[Interval]) -> None:
    seen, _ = played(intervals, tells_its_start=True)
    starts = [snapshot.started_at_s for snapshot in seen.snapshots]
    assert resets(seen) == len(set(starts)) - 1
    rest = since_restart(seen)
    assert {snapshot.started_at_s for snapshot in rest.snapshots} == {starts[-1]}
    assert rest.since_start == (len(rest.snapshots) == 1 < len(seen.snapshots))


def test_a_counter_that_fell_was_reset() -> None:
    assert increase(window(preemptions="5 8 2 4"), Metric.PREEMPTIONS) == 3 + 2 + 2


def test_a_restart_that_a_counter_outgrew_is_known_by_the_start_time() -> None:
    seen = window(preemptions="1 9", ttft=[[0.1] * 9], before={"ttft": [0.1]}, started_at_s=[100.0, START_S])
    assert increase(seen, Metric.PREEMPTIONS) == 9
    assert (observed(seen, Metric.TTFT) or histogram([])).count == 10


def test_a_missed_scrape_loses_nothing() -> None:
    seen = window(preemptions="0 5 _ 10", running="1x4")
    assert increase(seen, Metric.PREEMPTIONS) == 10
    assert rate(seen, Metric.PREEMPTIONS) == 10 / 15


def test_a_series_that_appears_inside_the_window_began_at_zero() -> None:
    assert increase(window(finished="_ _ 4 6", running="1x4"), Metric.FINISHED) == 6
    assert increase(window(finished={"a": "1 2 3", "b": "_ 7 8"}), Metric.FINISHED) == 2 + 8


def test_a_label_that_changes_makes_another_series() -> None:
    seen = window(generation_tokens={"old": "90 95 _ _", "new": "_ _ 3 4"}, running="1x4")
    assert increase(seen, Metric.GENERATION_TOKENS) == 5 + 4


def test_what_is_never_seen_is_no_figure() -> None:
    seen = window(running="1x3")
    assert increase(seen, Metric.PREEMPTIONS) is None
    assert rate(seen, Metric.PREEMPTIONS) is None
    assert observed(seen, Metric.TTFT) is None
    assert mean_level(seen, Metric.KV_USAGE) is None


def test_what_is_exported_and_never_happens_is_zero() -> None:
    seen = window(preemptions="7x3", ttft=[[], []], before={"ttft": [0.3]})
    assert increase(seen, Metric.PREEMPTIONS) == 0
    assert observed(seen, Metric.TTFT) == histogram([])


def test_series_of_a_gauge_are_summed_or_the_largest_counts() -> None:
    seen = window(running={"0": "3 4", "1": "5 6"}, kv_usage={"0": "0.2 0.9", "1": "0.7 0.8"})
    assert [value for _, value in levels(seen, Metric.RUNNING)] == [8, 10]
    assert [value for _, value in levels(seen, Metric.KV_USAGE)] == [0.7, 0.9]


def test_a_scrape_that_lacks_one_rank_says_nothing_of_all_ranks() -> None:
    seen = window(running={"0": "3 3 3", "1": "5 _ 5"})
    assert levels(seen, Metric.RUNNING) == [(START_S, 8), (START_S + 10, 8)]


def test_a_rank_that_comes_or_goes_for_good_is_no_gap() -> None:
    seen = window(running={"0": "3 3 3 3", "1": "_ 5 5 _"})
    assert [value for _, value in levels(seen, Metric.RUNNING)] == [3, 8, 8, 3]


def test_what_is_not_a_number_is_not_measured() -> None:
    seen = window(kv_usage="0.5 nan inf 0.7", preemptions="1 nan 3 4")
    assert [value for _, value in levels(seen, Metric.KV_USAGE)] == [0.5, 0.7]
    assert mean_level(seen, Metric.KV_USAGE) == pytest.approx(0.6)
    assert increase(seen, Metric.PREEMPTIONS) == 3


def test_a_counter_that_was_not_a_number_first_did_not_begin_at_zero() -> None:
    assert increase(window(preemptions="nan 1000 1001"), Metric.PREEMPTIONS) == 1


def test_edges_that_change_with_a_restart_leave_the_common_ones() -> None:
    old, new = histogram([0.1], (0.5, 1.0, inf)), histogram([0.1, 3.0], (1.0, 5.0, inf))
    later = histogram([0.1, 3.0, 3.0], (1.0, 5.0, inf))
    seen = Window(
        tuple(
            Snapshot("r1", "vllm", START_S + i, {}, {Metric.TTFT: {(): one}}) for i, one in enumerate((old, new, later))
        )
    )
    assert observed(seen, Metric.TTFT) == later


def test_shares_stay_exact_when_ranks_have_different_edges() -> None:
    def page(at_s: float, zero: list[float], one: list[float]) -> Snapshot:
        ranks: dict[Labels, Histogram] = {
            RANKS[0]: histogram(zero, (0.5, 1.0, inf)),
            RANKS[1]: histogram(one, (1.0, 5.0, inf)),
        }
        return Snapshot("r1", "vllm", at_s, {}, {Metric.TTFT: ranks})

    seen = Window((page(START_S, [9.0], []), page(START_S + 5, [9.0, 0.1], [0.7, 3.0, 9.0])))
    inside = observed(seen, Metric.TTFT)
    assert inside is not None
    assert (inside.edges, inside.share_at_or_below(1.0)) == ((1.0, inf), 0.5)


def test_a_lifetime_has_figures_but_no_rates() -> None:
    seen = lifetime(window(preemptions="1 9", ttft=[[0.1, 0.3]], before={"ttft": [0.2]}).snapshots[1])
    assert seen.since_start
    assert increase(seen, Metric.PREEMPTIONS) == 9
    assert rate(seen, Metric.PREEMPTIONS) is None
    assert observed(seen, Metric.TTFT) == histogram([0.2, 0.1, 0.3])


def test_one_snapshot_is_no_window_on_counters() -> None:
    seen = window(preemptions="9", running="2", ttft=[]).snapshots
    alone = Window(seen)
    assert increase(alone, Metric.PREEMPTIONS) is None
    assert observed(alone, Metric.TTFT) is None
    assert mean_level(alone, Metric.RUNNING) == 2


def test_a_restart_hidden_by_an_empty_page_is_seen_at_the_next_one() -> None:
    seen = window(generation_tokens="500 _ 20 40", running="1x4")
    assert resets(seen) == 1
    assert since_restart(seen).start_s == START_S + 10


def test_one_rank_that_falls_is_a_restart() -> None:
    assert resets(window(generation_tokens={"0": "5 6", "1": "5 2"})) == 1


def test_a_start_time_that_only_wavers_is_no_restart() -> None:
    assert resets(window(running="1x3", started_at_s=[100.0, 100.3, 99.9])) == 0


def test_another_engine_at_the_same_address_is_a_restart() -> None:
    first, second = window(generation_tokens="5 6").snapshots
    assert resets(Window((first, replace(second, engine="sglang")))) == 1


def test_a_window_without_restart_is_left_as_it_is() -> None:
    seen = window(generation_tokens="5 6 7")
    assert since_restart(seen) is seen


def test_a_stretch_without_scrapes_is_a_gap() -> None:
    assert gaps(window(running="1 1 1 _ _ 1 1")) == [(START_S + 10, START_S + 25)]
    assert gaps(window(running="1x7")) == []
    assert gaps(window(running="1 _ _ _ _ 1 1")) == []


def test_a_part_of_a_window_is_a_window() -> None:
    seen = window(preemptions="0 1 2 4 8")
    part = seen.between(START_S + 5, START_S + 15)
    assert part is not None
    assert (part.start_s, part.end_s, part.span_s) == (START_S + 5, START_S + 15, 10)
    assert increase(part, Metric.PREEMPTIONS) == 3
    assert seen.between(START_S + 1, START_S + 2) is None


def test_a_window_is_of_one_replica_and_rises_in_time() -> None:
    first, second = window(running="1x2").snapshots
    for wrong in ((), (second, first), (first, first), (first, replace(second, target="r2"))):
        with pytest.raises(InvalidInput, match="window"):
            Window(wrong)
    whole = Window((first, second))
    assert (whole.target, whole.engine) == ("r1", "vllm")
