"""Scrapes are even, spread over the fleet, and rarer where they fail."""

from itertools import pairwise
from math import isclose
from statistics import mean

from hypothesis import given
from hypothesis import strategies as st

from perfagent.collectors.schedule import Cadence, Tries, due_s, offset_s, stale

IDS = st.text(min_size=1, max_size=20)
TIMES = st.floats(1.5e9, 2.5e9)
CADENCES = st.builds(Cadence, st.floats(0.5, 120), st.floats(0.5, 600))


@given(IDS, st.floats(0.1, 3600))
def test_a_replicas_place_lies_in_the_interval(replica: str, interval_s: float) -> None:
    assert 0 <= offset_s(replica, interval_s) < interval_s


def test_a_replicas_place_survives_a_restart_of_the_agent() -> None:
    assert offset_s("10.0.3.11:8000", 5.0) == 2.7211750407520974


def test_a_fleet_is_spread_over_the_interval() -> None:
    places = [offset_s(f"10.0.3.{i}:8000", 10.0) for i in range(500)]
    assert 4.5 < mean(places) < 5.5
    assert max(sum(int(place) == second for place in places) for second in range(10)) < 80


@given(CADENCES, IDS, TIMES)
def test_a_healthy_replica_is_scraped_once_per_interval(cadence: Cadence, replica: str, now_s: float) -> None:
    tries = Tries()
    dues = []
    for _ in range(5):
        due = due_s(cadence, replica, tries, now_s)
        dues.append(due)
        tries = tries.succeeded(due)
    assert now_s < dues[0] <= now_s + cadence.interval_s + 1e-5
    assert all(isclose(b - a, cadence.interval_s, abs_tol=1e-5) for a, b in pairwise(dues))


@given(CADENCES, IDS, TIMES, st.integers(0, 2000))
def test_a_pause_is_never_longer_than_its_bound_by_more_than_half_an_interval(
    cadence: Cadence, replica: str, last_s: float, failures: int
) -> None:
    due = due_s(cadence, replica, Tries(last_s, None, failures), last_s)
    assert last_s + cadence.interval_s / 2 <= due + 1e-5
    assert due <= last_s + max(cadence.longest_s, cadence.interval_s) + cadence.interval_s / 2 + 1e-5


@given(CADENCES, IDS, TIMES, st.integers(0, 40))
def test_more_failures_never_mean_more_tries(cadence: Cadence, replica: str, last_s: float, failures: int) -> None:
    sooner = due_s(cadence, replica, Tries(last_s, None, failures), last_s)
    assert due_s(cadence, replica, Tries(last_s, None, failures + 1), last_s) >= sooner


def test_the_pause_doubles_with_each_failure_up_to_its_bound() -> None:
    cadence, tries, replica = Cadence(interval_s=5, longest_s=30), Tries(), "r1"
    dues = []
    for _ in range(6):
        due = due_s(cadence, replica, tries, 1.8e9)
        dues.append(due)
        tries = tries.failed(due)
    assert [round(b - a) for a, b in pairwise(dues)] == [5, 10, 20, 30, 30]


def test_a_try_that_began_a_little_early_or_late_is_not_made_twice() -> None:
    cadence = Cadence(interval_s=5)
    first = due_s(cadence, "r1", Tries(), 1.8e9)
    for jitter_s in (-0.2, 0.0, 0.2):
        assert round(due_s(cadence, "r1", Tries().succeeded(first + jitter_s), 1.8e9) - first, 6) == 5


def test_a_success_ends_the_back_off() -> None:
    tries = Tries().succeeded(100.0).failed(105.0).failed(115.0)
    assert tries == Tries(115.0, 100.0, 2)
    assert tries.succeeded(135.0) == Tries(135.0, 135.0, 0)


def test_figures_are_stale_after_three_intervals_and_before_the_first() -> None:
    cadence = Cadence(interval_s=5)
    assert stale(cadence, Tries(), 100.0)
    assert not stale(cadence, Tries().succeeded(100.0).failed(105.0), 115.0)
    assert stale(cadence, Tries().succeeded(100.0).failed(105.0), 115.1)
