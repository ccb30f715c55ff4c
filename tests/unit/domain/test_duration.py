import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.duration import duration, seconds
from perfagent.domain.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "meant"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("500ms", 0.5), ("2h", 7200), (" 1d ", 86_400), ("0", 0)],
)
def test_a_duration_is_read(text: str, meant: float) -> None:
    assert seconds(text) == meant


@pytest.mark.parametrize("text", ["", "h", "-1s", "1 h", "1w", "1h30m", "inf", "1e3s", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("meant", "text"), [(0, "0s"), (90, "90s"), (5400, "90m"), (86_400, "1d"), (0.5, "0.5s"), (129_600, "36h")]
)
def test_a_duration_is_written_in_the_largest_unit_that_leaves_a_whole_number(meant: float, text: str) -> None:
    assert duration(meant) == text


@given(st.integers(0, 10**9))
def test_what_was_written_is_read_as_it_was(whole: int) -> None:
    assert seconds(duration(whole)) == whole
