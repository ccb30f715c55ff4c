"""What today's error says of tomorrow's."""

import pytest

from perfagent.forecast import Figure, Predicted
from perfagent.forecast.predict import carried


def test_what_stays_as_it_is_keeps_its_error() -> None:
    assert carried(0.02, now=0.03, twin_now=0.02) == pytest.approx(0.03)


def test_what_becomes_something_else_may_have_another() -> None:
    assert carried(0.02, now=3.0, twin_now=2.0) == pytest.approx(0.02, rel=0.01)


def test_half_as_much_is_half_alike() -> None:
    assert carried(0.5, now=1.2, twin_now=1.0) == pytest.approx(0.5 * 1.2**0.5)
    assert carried(2.0, now=1.2, twin_now=1.0) == pytest.approx(2.0 * 1.2**0.5)


def test_what_grows_as_long_as_one_looks_has_no_size() -> None:
    told = Predicted.of(Figure.TTFT_MEAN, 10.0, (9.0, 11.0), 0.1, 0.1, 1.0, endless=True)
    assert told.direction_only
    assert told.direction == "up"
