from dataclasses import astuple, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.twin.belief import PARAMETERS, Belief
from perfagent.twin.data_types import DataTypes, Ratios, bytes_per_number, ratios
from perfagent.twin.step_time import StepTime

SIZES = (2.0, 1.0, 0.5)
TYPES = [DataTypes(weights, cache) for weights in SIZES for cache in SIZES]
LARGE, SMALL_WEIGHTS, SMALL_CACHE = DataTypes(), DataTypes(weight_bytes=1.0), DataTypes(kv_bytes=1.0)


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("float16", 2.0),
        ("none", 2.0),
        ("fp8_e4m3", 1.0),
        ("compressed-tensors", None),
        ("mxfp8", 1.0),
        ("mxfp4", 0.5),
        ("int8", 1.0),
        ("int4", 0.5),
        ("bitsandbytes", 1.0),
        ("bitsandbytes-fp4", 0.5),
        ("gptq", None),
        ("", None),
    ],
)
def test_a_type_s_name_tells_its_size_unless_it_needs_a_checkpoint_of_its_own(kind: str, size: float | None) -> None:
    assert bytes_per_number(kind) == size


@pytest.mark.parametrize("same", TYPES)
def test_the_same_types_change_nothing_and_that_is_sure(same: DataTypes) -> None:
    found = ratios(same, same)
    assert set(astuple(found.ratio)) == {1}
    assert astuple(found.draw(np.random.default_rng(0))) == astuple(found.ratio)


def test_8_bit_weights_read_faster_and_compute_faster_where_the_gpu_multiplies_them() -> None:
    native, other = (ratios(LARGE, SMALL_WEIGHTS, native=native) for native in (True, False))
    assert native.ratio.base_s == other.ratio.base_s == 0.74
    assert (native.ratio.per_token_s, other.ratio.per_token_s) == (0.61, 1.0)
    assert other.log_sd["per_token_s"] > native.log_sd["per_token_s"]
    assert native.ratio.per_context_token_s == native.ratio.per_pair_s == native.ratio.per_sequence_s == 1


def test_an_8_bit_cache_changes_what_attention_costs_and_nothing_else() -> None:
    found = ratios(LARGE, SMALL_CACHE).ratio
    assert 0.74 <= found.per_context_token_s <= 0.78
    assert (found.per_sequence_s, found.per_pair_s) == (1.15, 1.22)
    assert found.base_s == found.per_token_s == found.ridge_tokens == found.prompt_step_s == 1


def test_a_type_without_a_row_is_less_sure_than_one_with() -> None:
    four, eight = (ratios(LARGE, DataTypes(kv_bytes=size)).log_sd["per_pair_s"] for size in (0.5, 1.0))
    assert four > eight
    four, eight = (ratios(LARGE, DataTypes(weight_bytes=size)).log_sd["per_token_s"] for size in (0.5, 1.0))
    assert four > eight


@given(before=st.sampled_from(TYPES), after=st.sampled_from(TYPES))
def test_on_another_gpu_than_the_table_s_it_is_less_sure_and_what_stays_stays(
    before: DataTypes, after: DataTypes
) -> None:
    own, other = (ratios(before, after, own=own) for own in (True, False))
    assert own.ratio == other.ratio
    for name, sd in own.log_sd.items():
        assert other.log_sd[name] >= sd
        assert (other.log_sd[name] > 0) == (sd > 0)
    assert ratios(LARGE, SMALL_CACHE, own=False).log_sd["per_context_token_s"] > 0.2


@pytest.mark.parametrize("native", [True, False])
@given(before=st.sampled_from(TYPES), after=st.sampled_from(TYPES))
def test_there_and_back_again_is_where_one_was(native: bool, before: DataTypes, after: DataTypes) -> None:
    there, back = ratios(before, after, native=native), ratios(after, before, native=native)
    assert astuple(there.ratio.times(back.ratio)) == pytest.approx((1.0,) * 7)
    assert there.log_sd == back.log_sd


@pytest.mark.parametrize("native", [True, False])
@given(before=st.sampled_from(TYPES), after=st.sampled_from(TYPES))
def test_the_ridge_moves_as_the_memory_term_over_the_cost_of_a_token(
    native: bool, before: DataTypes, after: DataTypes
) -> None:
    ratio = ratios(before, after, native=native).ratio
    assert ratio.ridge_tokens == pytest.approx(ratio.base_s / ratio.per_token_s)


def test_draws_scatter_around_the_ratio_as_much_as_is_said() -> None:
    found = ratios(LARGE, DataTypes(1.0, 1.0))
    rng = np.random.default_rng(5)
    logs = np.log([astuple(found.draw(rng)) for _ in range(2000)])
    for column, field in enumerate(fields(StepTime)):
        assert logs[:, column].std() == pytest.approx(found.log_sd[field.name], rel=0.1), field.name
        assert logs[:, column].mean() == pytest.approx(np.log(getattr(found.ratio, field.name)), abs=0.02), field.name


def test_a_draw_of_certain_ratios_is_these() -> None:
    ratio = StepTime(0.5, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    sure = Ratios.independent(ratio, StepTime(*[0.0] * 7))
    assert sure.draw(np.random.default_rng(0)) == ratio


# What servers showed


def believed(step_time: StepTime, sd: float) -> Belief:
    return Belief.independent(step_time, StepTime(*[sd] * 7))


SEEN = StepTime(0.01, 2e-5, 200.0, 1e-5, 1e-8, 1e-11, 1e-3)
KNOWN = ratios(LARGE, DataTypes(1.0, 1.0))
SLOWER = StepTime(0.9, 0.7, 1.1, 1.3, 0.9, 1.4, 1.0)
"""Other ratios than those that are known, but for what surely stays."""


def test_surely_measured_servers_replace_what_kernels_let_expect() -> None:
    found = KNOWN.measured(believed(SEEN, 1e-4), believed(SEEN.times(SLOWER), 1e-4))
    assert astuple(found.ratio) == pytest.approx(astuple(SLOWER), rel=1e-3)
    assert max(found.log_sd.values()) < 1e-3


def test_servers_of_which_little_is_known_leave_the_ratios_as_they_are() -> None:
    found = KNOWN.measured(believed(SEEN, 1e-4), believed(SEEN.times(SLOWER), 5.0))
    assert astuple(found.ratio) == pytest.approx(astuple(KNOWN.ratio))
    assert found.log_sd == pytest.approx(KNOWN.log_sd)


def test_a_difference_is_not_the_ratio_s_where_the_first_servers_are_not_known_either() -> None:
    found = KNOWN.measured(believed(SEEN, 5.0), believed(SEEN.times(SLOWER), 1e-4))
    assert astuple(found.ratio) == pytest.approx(astuple(KNOWN.ratio), rel=0.01)


def test_what_surely_stays_does_so_whatever_was_measured() -> None:
    cache = ratios(LARGE, SMALL_CACHE).measured(believed(SEEN, 0.01), believed(SEEN.scaled(2.0), 0.01))
    assert (cache.ratio.base_s, cache.ratio.per_token_s, cache.ratio.ridge_tokens) == pytest.approx((1, 1, 1))
    assert cache.ratio.per_pair_s > 1.5


@given(
    sds=st.lists(st.floats(0.01, 3), min_size=14, max_size=14), moved=st.lists(st.floats(-1, 1), min_size=7, max_size=7)
)
def test_measuring_never_makes_less_sure_and_moves_no_ratio_beyond_what_was_seen(
    sds: list[float], moved: list[float]
) -> None:
    """One constant beside the other, where they err independently."""
    showed = SEEN.times(KNOWN.ratio).times(StepTime(*np.exp(moved).tolist()))
    before, after = (Belief.independent(of, StepTime(*sd)) for of, sd in ((SEEN, sds[:7]), (showed, sds[7:])))
    found = KNOWN.measured(before, after)
    for number, name in enumerate(PARAMETERS):
        assert found.log_sd[name] <= KNOWN.log_sd[name] * (1 + 1e-9)
        turned = np.log(getattr(found.ratio, name) / getattr(KNOWN.ratio, name))
        assert -1e-9 <= turned * np.sign(moved[number]) <= abs(moved[number]) + 1e-9
    found.draw(np.random.default_rng(0))
