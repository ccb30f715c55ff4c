import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.emulator.model import model, step_time
from perfagent.twin.data_types import DataTypes, bytes_per_number
from perfagent.twin.gpus import gpu
from perfagent.twin.hardware import expected

SHAPE = model("llama-3.1-8b").shape


def test_a_model_is_named_so_that_nobody_takes_it_for_real() -> None:
    assert model("llama-3.1-8b").name.startswith("emulated/")


def test_a_model_without_a_card_is_refused() -> None:
    with pytest.raises(InvalidInput, match="unknown model 'gpt-9'"):
        model("gpt-9")


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (None, 2),
        ("auto", 2),
        ("bfloat16", 2),
        ("fp8", 1),
        ("fp8_e5m2", 1),
        ("w8a8_int8", 1),
        ("bitsandbytes", 1),
        ("nvfp4", 0.5),
        ("bitsandbytes-nf4", 0.5),
        ("awq", None),
        ("gptq", None),
    ],
)
def test_data_types_have_sizes_unless_they_need_a_checkpoint_of_their_own(kind: str, size: float | None) -> None:
    assert bytes_per_number(kind) == size


def test_a_token_of_llama_3_1_8b_takes_128_kib_of_cache_in_16_bits() -> None:
    assert SHAPE.kv_token_bytes == 128 * 1024


def test_in_16_bits_a_step_takes_what_the_twin_expects() -> None:
    h100 = gpu("h100")
    assert step_time(SHAPE, h100, 1, DataTypes()) == expected(SHAPE, h100.hardware).step_time


def test_8_bit_weights_shorten_every_step_and_arithmetic_only_where_the_gpu_can() -> None:
    for name, saved in (("h100", 0.61), ("a100-80", 1.0)):
        full, small = (step_time(SHAPE, gpu(name), 1, DataTypes(weight_bytes=size)) for size in (2.0, 1.0))
        assert small.base_s == pytest.approx(0.74 * full.base_s)
        assert small.per_token_s == pytest.approx(saved * full.per_token_s)
        assert small.per_context_token_s == full.per_context_token_s


def test_an_8_bit_cache_makes_context_cheaper_but_not_by_half_and_sequences_dearer() -> None:
    full, small = (step_time(SHAPE, gpu("h100"), 1, DataTypes(kv_bytes=size)) for size in (2.0, 1.0))
    assert 0.74 <= small.per_context_token_s / full.per_context_token_s <= 0.78
    assert small.per_sequence_s > full.per_sequence_s
    assert small.per_pair_s > full.per_pair_s
    assert small.base_s == full.base_s


def test_two_gpus_read_the_weights_in_half_the_time() -> None:
    one, two = (step_time(SHAPE, gpu("h100"), gpus, DataTypes()) for gpus in (1, 2))
    assert two.base_s - 1e-3 == pytest.approx((one.base_s - 1e-3) / 2)
