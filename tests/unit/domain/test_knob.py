"""A change is made of known knobs, and what is not known of a configuration is None."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import EffectiveConfig, Knob, Setting, Source, change_of


@given(st.dictionaries(st.sampled_from(list(Knob)), st.integers(0, 100), min_size=1))
def test_equal_changes_are_equal_however_they_were_written(values: dict[Knob, int]) -> None:
    backwards = {str(knob): values[knob] for knob in reversed(values)}
    assert change_of(values) == change_of(backwards)
    assert dict(change_of(values)) == values


def test_a_change_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one knob"):
        change_of({})


def test_an_unknown_knob_is_named_and_the_known_ones_listed() -> None:
    with pytest.raises(InvalidInput, match=r"unknown knob 'max_seqs'; known are max_num_seqs, "):
        change_of({"max_num_seqs": 8, "max_seqs": 8})


@pytest.mark.parametrize("value", [2**63, 10**400, -(10**400), float("inf"), float("nan")])
def test_a_number_that_no_server_can_hold_is_refused(value: float) -> None:
    with pytest.raises(InvalidInput, match="max_num_seqs: no number of 64 bits"):
        change_of({"max_num_seqs": value})


def test_what_is_not_known_or_no_number_is_none() -> None:
    config = EffectiveConfig(
        {
            Knob.MAX_NUM_SEQS: Setting(8, Source.FLAG),
            Knob.ENABLE_PREFIX_CACHING: Setting(value=True, source=Source.DEFAULT),
            Knob.KV_CACHE_DTYPE: Setting("fp8", Source.READ_BACK),
        }
    )
    assert (config.value(Knob.MAX_NUM_SEQS), config.number(Knob.MAX_NUM_SEQS)) == (8, 8.0)
    assert (config.value(Knob.ENABLE_PREFIX_CACHING), config.number(Knob.ENABLE_PREFIX_CACHING)) == (True, None)
    assert (config.value(Knob.KV_CACHE_DTYPE), config.number(Knob.KV_CACHE_DTYPE)) == ("fp8", None)
    assert (config.value(Knob.BLOCK_SIZE), config.number(Knob.BLOCK_SIZE)) == (None, None)
