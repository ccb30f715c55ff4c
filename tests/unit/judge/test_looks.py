import numpy as np
import pytest

from perfagent.judge.looks import boundary, holm, spent


@pytest.mark.parametrize(
    ("alpha", "looks", "published"),
    [(0.025, 1, 1.960), (0.025, 2, 2.178), (0.025, 3, 2.289), (0.025, 5, 2.413), (0.05, 3, 1.992), (0.005, 3, 2.873)],
)
def test_boundaries_are_pococks(alpha: float, looks: int, published: float) -> None:
    """Jennison and Turnbull, Group Sequential Methods, table 2.1 (there two-sided, for twice the alpha)."""
    assert boundary(alpha, looks) == pytest.approx(published, abs=0.001)


def test_looks_spend_alpha_one_by_one_and_all_of_it_at_the_last() -> None:
    used = [spent(boundary(0.01, 3), looks) for looks in (1, 2, 3)]
    assert 0 < used[0] < used[1] < used[2] == pytest.approx(0.01)


def test_the_boundary_holds_for_sums_of_drawn_figures() -> None:
    rng = np.random.default_rng(1)
    sums = rng.standard_normal((200_000, 4)).cumsum(axis=1) / np.sqrt(np.arange(1, 5))
    crossed = (sums > boundary(0.02, 4)).any(axis=1).mean()
    assert crossed == pytest.approx(0.02, abs=0.002)


def test_holm_takes_the_strongest_first_and_stops_at_the_first_that_fails() -> None:
    bounds = [3.0, 2.0, 1.0]
    assert holm([1.5, 3.5, 2.5], bounds) == 3
    assert holm([1.5, 3.5, 1.9], bounds) == 1
    assert holm([2.9, 2.9, 2.9], bounds) == 0
    assert holm([], []) == 0
