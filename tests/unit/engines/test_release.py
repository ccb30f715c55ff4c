from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.errors import InvalidInput
from perfagent.engines.release import known, parse, pick, within

IN_ORDER = [
    "0.9.2",
    "0.11.0.dev3",
    "0.11.0a1",
    "0.11.0rc1+cpu",
    "0.11.0rc2",
    "0.11",
    "0.11.0.post1",
    "0.11.1",
    "0.20.0",
]
NUMBERS = st.lists(st.integers(0, 60), min_size=2, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@pytest.mark.parametrize(("earlier", "later"), list(pairwise(IN_ORDER)))
def test_releases_rise_as_their_makers_number_them(earlier: str, later: str) -> None:
    assert parse(earlier) < parse(later)
    assert not parse(later) < parse(earlier)


def test_sglangs_post_releases_come_before_the_next_number() -> None:
    assert parse("0.5.10") < parse("0.5.10.post1") < parse("0.5.11")
    assert parse("0.4.6.post5") < parse("0.4.9.post6")


@pytest.mark.parametrize(("one", "other"), [("v3.3.7", "3.3.7"), ("0.20", "0.20.0"), ("0.26.0+cu129", "0.26.0")])
def test_ways_to_write_the_same_release_are_equal(one: str, other: str) -> None:
    assert parse(one) == parse(other)


@pytest.mark.parametrize("text", ["latest", "", "0.26.x", "main-3f2a"])
def test_what_is_no_release_number_is_refused_and_unknown(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)
    assert known(text) is None


@given(NUMBERS, NUMBERS, NUMBERS)
def test_order_is_transitive(a: str, b: str, c: str) -> None:
    low, middle, high = sorted((parse(a), parse(b), parse(c)))
    assert low <= middle <= high
    assert low <= high


def test_a_span_includes_every_patch_of_its_last_series() -> None:
    assert within("0.27.3", None, "0.27")
    assert not within("0.28.0", None, "0.27")
    assert within("0.10.2", "0.9.2", "0.10")
    assert not within("0.9.1", "0.9.2", "0.10")
    assert within("1.0.3", None, "1.0")


def test_an_unknown_release_is_the_newest() -> None:
    assert within(None, "99.0", None)
    assert not within(None, None, "0.27")


def test_an_entry_is_picked_by_release_and_for_an_unknown_one_only_where_it_never_changed() -> None:
    changed = (("0.20", 0.92), (None, 0.9))
    assert pick("0.19.3", changed) == 0.9
    assert pick("0.20.0", changed) == 0.92
    assert pick(None, changed) is None
    assert pick(None, ((None, 1),)) == 1
    assert pick("0.5.0", (("0.6", True),)) is None
