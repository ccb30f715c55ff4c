from math import sqrt

import numpy as np
import pytest

from perfagent.domain.metric import Metric
from perfagent.domain.verdict import NO_PAST
from perfagent.judge.noise import (
    MOST_STRETCHES,
    PRIOR_MOOD_SD,
    PRIOR_PERMANENT_SD,
    PRIOR_SWING_SD,
    Logs,
    noise_in,
    noise_of,
    quiet,
)


def drawn(
    seed: int, replicas: int, *, permanent: float = 0.0, slow: float = 0.0, fast: float = 0.0, swing: float = 0.0
) -> Logs:
    rng = np.random.default_rng(seed)
    moods = np.repeat(rng.normal(0, slow, (replicas, MOST_STRETCHES // 6)), 6, axis=1)
    swings = np.repeat(rng.normal(0, swing, MOST_STRETCHES // 6), 6)
    parts = rng.normal(0, permanent, (replicas, 1)) + moods + rng.normal(0, fast, (replicas, MOST_STRETCHES))
    figures: Logs = parts + swings
    return figures


def test_each_part_of_the_noise_is_found_again_in_a_large_fleet() -> None:
    noise = noise_of(Metric.TTFT, drawn(1, 400, permanent=0.08, slow=0.04, fast=0.06, swing=0.2), 300.0)
    assert noise.permanent_sd == pytest.approx(0.08, rel=0.1)
    assert noise.mood_sd == pytest.approx(sqrt(0.04**2 + 0.06**2 / 6), rel=0.1)
    assert noise.fast_sd == pytest.approx(0.06, rel=0.1)
    assert noise.swing_sd == pytest.approx(0.2, rel=0.5)


def test_without_a_past_it_is_the_prior() -> None:
    noise = noise_in(NO_PAST, Metric.ITL)
    assert (noise.permanent_sd, noise.mood_sd, noise.swing_sd) == (
        PRIOR_PERMANENT_SD,
        PRIOR_MOOD_SD,
        PRIOR_SWING_SD,
    )
    assert (noise.fast_sd, noise.metric) == (0.0, Metric.ITL)


def test_a_short_past_moves_the_prior_a_little_and_a_long_one_nearly_all_the_way() -> None:
    few, many = (noise_of(Metric.TTFT, drawn(2, replicas, permanent=0.2), 300.0) for replicas in (2, 200))
    assert PRIOR_PERMANENT_SD < few.permanent_sd < many.permanent_sd
    assert many.permanent_sd == pytest.approx(0.2, rel=0.15)
    assert few.permanent_freedom < many.permanent_freedom


def test_swings_of_all_replicas_together_are_not_taken_for_differences_between_them() -> None:
    noise = noise_of(Metric.TTFT, drawn(3, 50, swing=1.0), 300.0)
    assert noise.permanent_sd < PRIOR_PERMANENT_SD
    assert noise.mood_sd < PRIOR_MOOD_SD
    assert noise.swing_sd > 0.5


def test_of_a_lone_replica_only_its_swing_is_seen() -> None:
    noise = noise_of(Metric.TTFT, drawn(4, 1, permanent=1.0, slow=0.1, fast=0.05), 300.0)
    assert (noise.permanent_sd, noise.mood_sd, noise.fast_sd) == (PRIOR_PERMANENT_SD, 0.0, 0.0)
    assert noise.swing_sd == pytest.approx(0.1, rel=0.5)
    assert noise.mood_stretches == 6
    assert noise.swing_fast_sd == pytest.approx(0.05, rel=0.3)


@pytest.mark.parametrize("stretches", [0, 1, 2, 3])
def test_too_short_a_past_says_nothing(stretches: int) -> None:
    seen = drawn(5, 10, permanent=1.0)[:, :stretches]
    assert noise_in(quiet({Metric.TTFT: seen}, 300.0), Metric.TTFT) == noise_in(NO_PAST, Metric.TTFT)


def test_a_replica_that_was_hardly_seen_is_left_out_and_so_are_stretches_that_one_missed() -> None:
    seen = drawn(6, 5, permanent=0.1, fast=0.01)
    whole = noise_of(Metric.TTFT, seen[:4, 3:], 300.0)
    seen[4, : MOST_STRETCHES // 2 + 10] = np.nan
    seen[0, :3] = np.nan
    found = quiet({Metric.TTFT: seen}, 300.0)
    assert noise_in(found, Metric.TTFT) == whole
    assert (found.replicas, found.stretches) == (4, MOST_STRETCHES - 3)


def test_what_is_found_is_as_wide_as_the_differences_of_means_that_it_is_for() -> None:
    """The spread of later means around earlier ones, which the judge reckons from the parts."""
    rng = np.random.default_rng(7)
    parts = drawn(7, 300, permanent=0.05, slow=0.03, fast=0.05)
    noise = noise_of(Metric.TTFT, parts, 300.0)
    later = parts[:, -6:].mean(axis=1) - parts[:, :6].mean(axis=1)
    expected = sqrt(2) * noise.mood_sd
    assert np.std(rng.permutation(later)) == pytest.approx(expected, rel=0.15)
