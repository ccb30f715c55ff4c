import pytest

from perfagent.bench.interval import NOTHING, macro_f1, rate, share


def test_a_share_has_wilsons_interval() -> None:
    """Newcombe (1998), table I: 81 of 263, and none of 20."""
    assert share(81, 263).low == pytest.approx(0.2553, abs=5e-5)
    assert share(81, 263).high == pytest.approx(0.3662, abs=5e-5)
    assert (share(0, 20).low, share(0, 20).high) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_a_rate_has_the_exact_poisson_interval() -> None:
    """Garwood (1936): none seen is at most 3.689, five are 1.623 … 11.668."""
    none, five = rate(0, 2.0), rate(5, 1.0)
    assert (none.value, none.low, none.high) == pytest.approx((0.0, 0.0, 3.689 / 2), abs=5e-4)
    assert (five.low, five.high) == pytest.approx((1.623, 11.668), abs=5e-4)


def test_nothing_measured_is_nothing() -> None:
    assert share(0, 0) == rate(0, 0.0) == macro_f1([], []) == NOTHING


def test_macro_f1_counts_every_label_alike() -> None:
    right = ["a"] * 8 + ["b", "b"]
    said = ["a"] * 8 + ["a", "b"]
    measured = macro_f1(right, said)
    assert measured.value == pytest.approx((16 / 17 + 2 / 3) / 2)
    assert 0 <= (measured.low or 0) < (16 / 17 + 2 / 3) / 2 < (measured.high or 0) <= 1


def test_a_label_that_is_never_right_lowers_macro_f1_by_what_it_costs_the_others_alone() -> None:
    assert macro_f1(["a", "a"], ["a", "odd"]).value == pytest.approx(2 / 3)
