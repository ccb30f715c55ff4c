"""What trials say of draws."""

import numpy as np
import pytest

from perfagent.bench.trials import BLUR, FEWEST, weights_of


def test_draws_that_tell_a_trial_right_count_more() -> None:
    right, blurred, wrong = weights_of(np.array([[0.0, BLUR, -2 * BLUR]]))
    assert right > blurred > wrong > 0
    assert blurred / right == pytest.approx(np.exp(-0.5))


def test_every_trial_counts() -> None:
    once, twice = weights_of(np.array([[0.0, BLUR]])), weights_of(np.array([[0.0, BLUR], [0.0, BLUR]]))
    assert twice[1] / twice[0] == pytest.approx((once[1] / once[0]) ** 2)


def test_no_single_draw_has_the_say_however_wrong_the_others_are() -> None:
    weights = weights_of(np.array([[0.0, *[20 * BLUR] * 5, *[40 * BLUR] * 6]]))
    assert weights.sum() ** 2 / (weights**2).sum() >= FEWEST * len(weights)
    assert weights[0] == max(weights)


def test_draws_that_are_all_as_wrong_count_alike() -> None:
    assert len(set(weights_of(np.full((1, 12), 0.9)).tolist())) == 1
