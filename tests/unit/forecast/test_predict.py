"""What an answer means."""

from perfagent.forecast import Figure, Predicted


def test_what_grows_as_long_as_one_looks_has_no_size() -> None:
    told = Predicted.of(Figure.TTFT_MEAN, 10.0, (9.0, 11.0), 0.1, 0.1, 1.0, endless=True)
    assert told.direction_only
    assert told.direction == "up"
