from collections.abc import Mapping

import pytest

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Knob, KnobValue, change_of
from perfagent.domain.machine import CPU, Machine, ModelShape
from perfagent.emulator.setup import Setup, prepare
from perfagent.engines.servers import habits
from perfagent.forecast.memory import tokens_after
from perfagent.forecast.server import data_types
from perfagent.twin.data_types import QUANTISED_SHARE, DataTypes
from perfagent.twin.gpus import gpu
from support.fleets import launch
from support.fleets import machine as emulated

Values = Mapping[Knob, KnobValue]

SHAPE = ModelShape(params=8.03e9, layers=32, kv_heads=8, head_dim=128, width=4096)
TOKEN_BYTES = 128 * 1024
H100 = Machine("h100", 1, SHAPE)
NOTHING_KNOWN = Machine()
TODAY = 400_000.0
FP8_WEIGHTS = {Knob.QUANTIZATION: "fp8"}
FP8_CACHE = {Knob.KV_CACHE_DTYPE: "fp8"}


def after(
    new: Values, *, of: Machine = H100, engine: str = "vllm", old: Values | None = None, tokens: float = TODAY
) -> float:
    """Tokens that fit when `new` is set on a server that is set as `old` and holds `tokens`."""
    before = old or {}
    then = {**before, **new}
    types = [data_types(values) or DataTypes() for values in (before, then)]
    return tokens_after(tokens, of, habits(engine), (before, types[0]), (then, types[1]))


def test_what_changes_no_memory_leaves_the_cache_as_the_server_tells_it() -> None:
    assert after({Knob.MAX_NUM_SEQS: 8}, of=NOTHING_KNOWN) == TODAY


def test_a_cache_in_8_bits_holds_twice_the_tokens_whatever_the_model() -> None:
    assert after(FP8_CACHE, of=NOTHING_KNOWN) == 2 * TODAY
    assert after({Knob.KV_CACHE_DTYPE: "auto"}, old=FP8_CACHE, of=NOTHING_KNOWN) == TODAY / 2


def test_the_bytes_that_smaller_weights_free_become_cache() -> None:
    freed = QUANTISED_SHARE * 8.03e9
    assert after(FP8_WEIGHTS) == pytest.approx(TODAY + freed / TOKEN_BYTES)
    assert after({**FP8_WEIGHTS, **FP8_CACHE}) == pytest.approx(2 * (TODAY + freed / TOKEN_BYTES))
    assert after(FP8_WEIGHTS, old=FP8_CACHE) == pytest.approx(TODAY + 2 * freed / TOKEN_BYTES)  # half a token's bytes
    assert after({Knob.QUANTIZATION: "none"}, old=FP8_WEIGHTS) == pytest.approx(TODAY - freed / TOKEN_BYTES)


def test_where_the_cache_takes_a_part_of_what_is_left_it_gains_that_part() -> None:
    freed = QUANTISED_SHARE * 8.03e9
    assert after(FP8_WEIGHTS, engine="tgi") == pytest.approx(TODAY + 0.9 * freed / TOKEN_BYTES)


def test_a_share_of_memory_is_of_all_the_gpus_that_work_together() -> None:
    more, old = {Knob.GPU_MEMORY_UTILIZATION: 0.95}, {Knob.GPU_MEMORY_UTILIZATION: 0.85}
    gained = 0.1 * gpu("h100").memory_bytes / TOKEN_BYTES
    assert after(more, old=old) == pytest.approx(TODAY + gained)
    assert after(more, old=old, of=Machine("h100", 2, SHAPE)) == pytest.approx(TODAY + 2 * gained)
    assert after(old, old=more) == pytest.approx(TODAY - gained)


def test_more_tokens_in_a_step_take_room_unless_the_share_is_for_weights_and_cache_alone() -> None:
    old, new = {Knob.MAX_NUM_BATCHED_TOKENS: 2048}, {Knob.MAX_NUM_BATCHED_TOKENS: 8192}
    taken = 2 * 16 * 4096 * 6144 / TOKEN_BYTES
    assert after(new, old=old) == pytest.approx(TODAY - taken)
    assert after(old, old=new) == pytest.approx(TODAY + taken)
    assert after(new, old=old, engine="sglang") == TODAY
    assert after(new, old=old, of=Machine(CPU, 1, SHAPE)) == TODAY
    assert after(new, old=old, of=Machine("h100")) == TODAY  # nobody knows the model's width


def test_a_cap_is_in_blocks_or_tokens_as_the_engine_counts() -> None:
    assert after({Knob.KV_CACHE_TOKENS: 1000}) == 16_000
    assert after({Knob.KV_CACHE_TOKENS: 1000}, old={Knob.BLOCK_SIZE: 32}) == 32_000
    assert after({Knob.KV_CACHE_TOKENS: 1000}, engine="sglang") == 1000
    assert after(FP8_CACHE, old={Knob.KV_CACHE_TOKENS: 1000}) == 16_000  # smaller numbers, but no more tokens


def test_a_cache_of_so_many_bytes_holds_what_fits_in_them_whatever_else_there_is() -> None:
    fixed: Values = {Knob.KV_CACHE_MEMORY_BYTES: 1000 * TOKEN_BYTES}
    assert after(fixed) == 1000
    assert after({**fixed, **FP8_CACHE}) == 2000


def test_bytes_that_are_fixed_already_need_no_model_s_shape() -> None:
    fixed: Values = {Knob.KV_CACHE_MEMORY_BYTES: 2_000_000}
    assert after({Knob.MAX_NUM_SEQS: 8}, old=fixed, of=NOTHING_KNOWN) == TODAY
    assert after(FP8_CACHE, old=fixed, of=NOTHING_KNOWN) == 2 * TODAY
    assert after({Knob.KV_CACHE_MEMORY_BYTES: 3_000_000}, old=fixed, of=NOTHING_KNOWN) == 1.5 * TODAY
    assert after({Knob.GPU_MEMORY_UTILIZATION: 0.5, **FP8_WEIGHTS}, old=fixed, of=NOTHING_KNOWN) == TODAY


@pytest.mark.parametrize(
    ("of", "new", "old", "reason"),
    [
        (Machine("h100"), FP8_WEIGHTS, {}, "quantization: the model's shape is not known"),
        (Machine("h100"), {Knob.KV_CACHE_MEMORY_BYTES: 10**9}, {}, "kv_cache_memory_bytes: the model's shape"),
        (
            Machine(None, 1, SHAPE),
            {Knob.GPU_MEMORY_UTILIZATION: 0.8},
            {Knob.GPU_MEMORY_UTILIZATION: 0.9},
            "name the GPU",
        ),
        (
            Machine(CPU, 1, SHAPE),
            {Knob.GPU_MEMORY_UTILIZATION: 0.8},
            {Knob.GPU_MEMORY_UTILIZATION: 0.9},
            "what that share is of",
        ),
        (H100, {Knob.GPU_MEMORY_UTILIZATION: 0.8}, {}, "what that share is of is not known"),
        (
            Machine("h100"),
            {Knob.GPU_MEMORY_UTILIZATION: 0.8},
            {Knob.GPU_MEMORY_UTILIZATION: 0.9},
            "the model's shape is not known",
        ),
        (
            Machine("h1000", 1, SHAPE),
            {Knob.GPU_MEMORY_UTILIZATION: 0.8},
            {Knob.GPU_MEMORY_UTILIZATION: 0.9},
            "unknown GPU 'h1000'",
        ),
        (
            H100,
            {Knob.GPU_MEMORY_UTILIZATION: 0.99},
            {Knob.GPU_MEMORY_UTILIZATION: 0.9},
            "would not start: 99% of the GPU's memory is never free",
        ),
        (
            H100,
            {Knob.GPU_MEMORY_UTILIZATION: 0.2},
            {Knob.GPU_MEMORY_UTILIZATION: 0.9},
            "would not start: nothing would be left for the KV cache",
        ),
    ],
)
def test_what_nobody_can_tell_or_would_not_start_is_refused(of: Machine, new: Values, old: Values, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        after(new, old=old, of=of)


def test_a_server_that_takes_only_what_is_free_may_ask_for_more() -> None:
    more = after({Knob.GPU_MEMORY_UTILIZATION: 0.99}, old={Knob.GPU_MEMORY_UTILIZATION: 0.9}, engine="tgi")
    assert more == pytest.approx(TODAY + 0.9 * 0.08 * gpu("h100").memory_bytes / TOKEN_BYTES)  # 98 % are ever free


@pytest.mark.parametrize(
    ("engine", "release", "change"),
    [
        ("vllm", "0.33.0", FP8_CACHE),
        ("vllm", "0.33.0", FP8_WEIGHTS),
        ("vllm", "0.33.0", {Knob.GPU_MEMORY_UTILIZATION: 0.6}),
        ("vllm", "0.33.0", {Knob.MAX_NUM_BATCHED_TOKENS: 32768}),
        ("vllm", "0.33.0", {Knob.GPU_MEMORY_UTILIZATION: 0.5, **FP8_CACHE}),
        ("vllm", "0.33.0", {Knob.KV_CACHE_MEMORY_BYTES: 20 * 2**30}),
        ("sglang", "0.5.23", {Knob.GPU_MEMORY_UTILIZATION: 0.6}),
        ("sglang", "0.5.23", FP8_WEIGHTS),
        ("tgi", "3.3.7", {Knob.GPU_MEMORY_UTILIZATION: 0.7}),
    ],
)
def test_the_capacity_after_a_change_is_within_3_percent_of_an_emulated_server_s(
    engine: str, release: str, change: Values
) -> None:
    of = emulated(engine, release)
    base = launch(of)

    def tokens(setup: Setup) -> float:
        return float(setup.rules.kv_blocks * setup.rules.block_size)

    then = prepare(of, engines.render(engine, base, change_of(change), release))
    now = prepare(of, base)
    sizes = data_types(now.values), data_types({**now.values, **change})
    assert sizes[0] is not None
    assert sizes[1] is not None
    found = tokens_after(
        tokens(now), H100, habits(engine), (now.values, sizes[0]), ({**now.values, **change}, sizes[1])
    )
    assert found == pytest.approx(tokens(then), rel=0.03)
    assert found != pytest.approx(tokens(now), rel=0.03) or Knob.MAX_NUM_BATCHED_TOKENS in change


def test_a_cap_that_does_not_bind_is_no_capacity() -> None:
    """SGLang's cap is an upper limit: with 900 tokens in memory a cap of 1,000 or 2,000 changes nothing."""
    was = {Knob.KV_CACHE_TOKENS: 1000}
    assert after({}, old=was, tokens=900, engine="sglang") == 900
    assert after({Knob.KV_CACHE_TOKENS: 2000}, old=was, tokens=900, engine="sglang") == 900
    assert after({Knob.KV_CACHE_TOKENS: 500}, old=was, tokens=900, engine="sglang") == 500
    assert after({Knob.KV_CACHE_TOKENS: 2000}, old=was, tokens=1000, engine="sglang") == 2000
