"""What a histogram says is true of the observations behind it."""

from itertools import pairwise
from math import inf, isclose, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.errors import InvalidInput
from perfagent.domain.histogram import Histogram, Quantile, merge
from support.windows import histogram

EDGES = st.lists(st.floats(0.001, 1000), unique=True, max_size=8).map(lambda finite: (*sorted(finite), inf))
SAMPLES = st.lists(st.one_of(st.floats(0, 2000), st.sampled_from([0.0, 0.5, 1.0])), max_size=40)
SOME = SAMPLES.filter(bool)


def alike(one: Histogram | None, other: Histogram | None) -> bool:
    """Equal, but for the rounding of sums."""
    if one is None or other is None:
        return one is other
    close = isclose(one.total, other.total, rel_tol=1e-9, abs_tol=1e-6)
    return (one.edges, one.cumulative) == (other.edges, other.cumulative) and close


@given(SOME, EDGES)
def test_the_mean_is_that_of_the_observations(samples: list[float], edges: tuple[float, ...]) -> None:
    assert histogram(samples, edges).mean == pytest.approx(np.mean(samples))


@given(SOME, EDGES, st.data())
def test_the_share_at_an_edge_is_that_of_the_observations(
    samples: list[float], edges: tuple[float, ...], data: st.DataObject
) -> None:
    edge = data.draw(st.sampled_from(edges))
    share = histogram(samples, edges).share_at_or_below(edge)
    assert share == sum(sample <= edge for sample in samples) / len(samples)


@given(SOME, EDGES, st.one_of(st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]), st.floats(0.001, 1)))
def test_a_quantile_lies_with_the_observed_one_within_its_bounds(
    samples: list[float], edges: tuple[float, ...], q: float
) -> None:
    told = histogram(samples, edges).quantile(q)
    assert told is not None
    observed = np.quantile(samples, q, method="inverted_cdf")
    assert told.low <= observed <= told.high
    assert told.low <= told.value <= told.high


def test_rounding_takes_no_quantile_out_of_its_bucket() -> None:
    told = histogram([0.0, 0.0, 0.0, 342.0, 342.0, 342.0], (341.7828548043723, inf)).quantile(0.5)
    assert told == Quantile(341.7828548043723, 0.0, 341.7828548043723)


@given(SOME, EDGES)
def test_quantiles_never_fall_as_q_rises(samples: list[float], edges: tuple[float, ...]) -> None:
    seen = histogram(samples, edges)
    values = [quantile.value for q in np.linspace(0.01, 1, 30) if (quantile := seen.quantile(float(q)))]
    assert len(values) == 30
    assert all(a <= b + 1e-9 for a, b in pairwise(values))


@given(SAMPLES, SAMPLES, EDGES)
def test_the_difference_of_two_scrapes_is_what_was_observed_in_between(
    before: list[float], between: list[float], edges: tuple[float, ...]
) -> None:
    later = histogram([*before, *between], edges)
    assert alike(later.since(histogram(before, edges)), histogram(between, edges))


@given(st.lists(SAMPLES, min_size=1, max_size=4), EDGES)
def test_merged_histograms_are_those_of_all_observations(parts: list[list[float]], edges: tuple[float, ...]) -> None:
    together = [sample for part in parts for sample in part]
    assert alike(merge(histogram(part, edges) for part in parts), histogram(together, edges))


@given(st.lists(st.tuples(SAMPLES, EDGES), min_size=1, max_size=4))
def test_merging_keeps_every_share_exact_on_the_edges_that_all_have(
    parts: list[tuple[list[float], tuple[float, ...]]],
) -> None:
    whole = merge(histogram(samples, edges) for samples, edges in parts)
    together = [sample for samples, _ in parts for sample in samples]
    common = set(parts[0][1]).intersection(*(edges for _, edges in parts))
    assert whole is not None
    assert alike(whole, histogram(together, sorted(common)))


@given(SAMPLES, SAMPLES, EDGES)
def test_difference_undoes_merging(one: list[float], other: list[float], edges: tuple[float, ...]) -> None:
    a, b = histogram(one, edges), histogram(other, edges)
    whole = merge([a, b])
    assert whole is not None
    assert alike(whole.since(a), b)


def test_merging_nothing_is_nothing() -> None:
    assert merge([]) is None


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ([0.1, 0.2, 9.0], [0.1], "the count fell"),
        ([0.1], [9.0, 9.0], "a bucket fell"),
        ([99.0], [3.0, 3.0], "the sum fell"),
        ([0.1], [0.1, 0.7, 0.7, 9.0, 9.0], "nothing tells, and the difference can be"),
    ],
)
def test_a_histogram_that_fell_anywhere_was_reset(before: list[float], after: list[float], why: str) -> None:
    edges = (0.5, 1.0, inf)
    seen = histogram(after, edges).since(histogram(before, edges))
    assert seen == (histogram(after, edges) if "fell" in why else histogram([0.7, 0.7, 9.0, 9.0], edges))


def test_a_histogram_with_other_edges_was_reset() -> None:
    after = histogram([0.1] * 3, (0.5, inf))
    assert after.since(histogram([0.1], (0.7, inf))) == after


def test_nothing_observed_is_no_figure() -> None:
    empty = histogram([])
    assert empty.mean is None
    assert empty.quantile(0.5) is None
    assert empty.share_at_or_below(1.0) is None


def test_beyond_the_last_edge_a_quantile_has_no_upper_bound() -> None:
    assert histogram([0.1, 9.0, 9.0], (1.0, inf)).quantile(0.9) == Quantile(1.0, 1.0, inf)


def test_a_share_between_edges_is_refused_with_the_nearest_edge() -> None:
    seen = histogram([0.1], (0.25, 0.5, inf))
    with pytest.raises(InvalidInput, match=r"0\.4 is not a bucket edge; the nearest is 0\.5"):
        seen.share_at_or_below(0.4)
    assert (seen.snap(0.1), seen.snap(0.375), seen.snap(99)) == (0.25, 0.5, 0.5)
    assert histogram([0.1], (inf,)).snap(3) == inf


@pytest.mark.parametrize("q", [0.0, -0.5, 1.5, nan])
def test_a_quantile_outside_its_range_is_refused(q: float) -> None:
    with pytest.raises(InvalidInput, match="lies in"):
        histogram([1.0]).quantile(q)


@pytest.mark.parametrize(
    ("edges", "counts", "total"),
    [
        ((), (), 0.0),
        ((1.0,), (1.0,), 0.0),
        ((1.0, inf), (1.0,), 0.0),
        ((2.0, 1.0, inf), (1.0, 1.0, 1.0), 0.0),
        ((1.0, 1.0, inf), (1.0, 1.0, 1.0), 0.0),
        ((nan, inf), (1.0, 1.0), 0.0),
        ((1.0, inf), (2.0, 1.0), 0.0),
        ((1.0, inf), (-1.0, 1.0), 0.0),
        ((1.0, inf), (nan, 1.0), 0.0),
        ((1.0, inf), (1.0, nan), 0.0),
        ((1.0, inf), (1.0, inf), 0.0),
        ((1.0, inf), (1.0, 1.0), nan),
        ((1.0, inf), (1.0, 1.0), inf),
    ],
)
def test_numbers_that_cannot_be_a_histogram_are_refused(
    edges: tuple[float, ...], counts: tuple[float, ...], total: float
) -> None:
    with pytest.raises(InvalidInput, match="histogram"):
        Histogram(edges, counts, total)
