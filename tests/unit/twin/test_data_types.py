from dataclasses import astuple, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert other.log_sd.per_token_s > native.log_sd.per_token_s
    assert native.ratio.per_context_token_s == native.ratio.per_pair_s == native.ratio.per_sequence_s == 1


def test_an_8_bit_cache_changes_what_attention_costs_and_nothing_else() -> None:
    found = ratios(LARGE, SMALL_CACHE).ratio
    assert 0.74 <= found.per_context_token_s <= 0.78
    assert (found.per_sequence_s, found.per_pair_s) == (1.15, 1.22)
    assert found.base_s == found.per_token_s == found.ridge_tokens == found.prompt_step_s == 1


def test_a_type_without_a_row_is_less_sure_than_one_with() -> None:
    assert ratios(LARGE, DataTypes(kv_bytes=0.5)).log_sd.per_pair_s > ratios(LARGE, SMALL_CACHE).log_sd.per_pair_s
    assert (
        ratios(LARGE, DataTypes(weight_bytes=0.5)).log_sd.per_token_s > ratios(LARGE, SMALL_WEIGHTS).log_sd.per_token_s
    )


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
        sd = getattr(found.log_sd, field.name)
        assert logs[:, column].std() == pytest.approx(sd, rel=0.1), field.name
        assert logs[:, column].mean() == pytest.approx(np.log(getattr(found.ratio, field.name)), abs=0.02), field.name


def test_a_draw_of_certain_ratios_is_these() -> None:
    ratio = StepTime(0.5, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    sure = Ratios(ratio, StepTime(*[0.0] * 7))
    assert sure.draw(np.random.default_rng(0)) == ratio
