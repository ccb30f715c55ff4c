"""A share rounds up, but is never everything before it is 100 %."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.errors import InvalidInput
from perfagent.domain.share import Share

PERCENTS = st.integers(1, 100)
FLEETS = st.integers(1, 5000)


@given(PERCENTS, FLEETS)
def test_at_least_one_replica_and_never_more_than_all(percent: int, replicas: int) -> None:
    assert 1 <= Share(percent).of(replicas) <= replicas


@given(PERCENTS, FLEETS)
def test_only_100_percent_is_all_of_several_replicas(percent: int, replicas: int) -> None:
    assert (Share(percent).of(replicas) == replicas) == (percent == 100 or replicas == 1)


@given(PERCENTS, PERCENTS, FLEETS)
def test_a_wider_share_is_never_fewer_replicas(one: int, other: int, replicas: int) -> None:
    narrow, wide = sorted([Share(one), Share(other)])
    assert narrow.of(replicas) <= wide.of(replicas)


@given(PERCENTS, FLEETS)
def test_rounding_never_takes_more_than_one_replica_too_many(percent: int, replicas: int) -> None:
    assert Share(percent).of(replicas) - replicas * percent / 100 < 1


def test_ten_percent_of_four_replicas_is_one_and_the_record_says_25() -> None:
    assert Share(10).of(4) == 1
    assert Share(10).actual_percent(4) == 25


@pytest.mark.parametrize("percent", [0, -1, 101])
def test_a_share_outside_its_range_is_refused(percent: int) -> None:
    with pytest.raises(InvalidInput, match="between 1 and 100"):
        Share(percent)


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one replica"):
        Share(10).of(0)
