from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Knob, KnobValue, LaunchConfig, change_of
from perfagent.domain.machine import CPU, Machine, ModelShape
from perfagent.forecast.server import Server, changed, known
from perfagent.twin import Request
from perfagent.twin.data_types import DataTypes
from support.windows import window

H100 = Machine("h100", 1, ModelShape(params=8.03e9, layers=32, kv_heads=8, head_dim=128, width=4096))


def server(*flags: str, of: Machine = H100, engine: str = "vllm", release: str = "0.26.0", **series: Any) -> Server:
    launch = LaunchConfig(flags)
    told = {"kv_capacity": "320000x2", "running": "4x2"} | series
    return known(window(engine=engine, **told), engines.effective(engine, launch, {}, {}, release), launch, of)


def after(of: Server, values: Mapping[Knob, KnobValue]) -> Server:
    return changed(of, change_of(values))


def test_the_scheduler_goes_by_flags_and_by_defaults_of_release_and_gpu() -> None:
    rules = server("--max-num-seqs=48", "--block-size=32").rules
    assert (rules.max_num_seqs, rules.block_size, rules.max_num_batched_tokens) == (48, 32, 8192)
    assert rules.kv_blocks == 320_000 // 32 - 1  # vLLM keeps one
    assert rules.prefix_caching
    assert rules.chunked_prefill
    assert rules.async_scheduling
    assert rules.mixed
    assert rules.reserve_output_ratio == 0.0


def test_what_is_switched_off_is_off() -> None:
    rules = server(
        "--no-enable-prefix-caching", "--no-enable-chunked-prefill", "--no-async-scheduling", "--max-model-len=4096"
    ).rules
    assert not rules.prefix_caching
    assert not rules.chunked_prefill
    assert not rules.async_scheduling


def test_engines_differ_in_what_shares_a_step_and_what_is_reserved() -> None:
    sglang = server("--max-total-tokens=90000", engine="sglang", release="0.5.23").rules
    assert not sglang.mixed
    assert 0 < sglang.reserve_output_ratio < 0.2
    assert (sglang.block_size, sglang.kv_blocks) == (1, 320_000)
    tgi = server("--max-batch-prefill-tokens=2000", engine="tgi", release="3.3.7").rules
    assert tgi.mixed
    assert tgi.reserve_output_ratio == 1.0
    assert tgi.max_num_batched_tokens == 2000
    assert not tgi.async_scheduling


def test_a_server_on_processor_cores_plans_step_by_step() -> None:
    rules = server(of=Machine(CPU)).rules
    assert not rules.async_scheduling
    assert rules.max_num_seqs == 128


def test_without_a_gpu_s_name_defaults_are_at_their_smallest_and_that_is_said() -> None:
    unknown = server(of=Machine())
    assert (unknown.rules.max_num_seqs, unknown.rules.max_num_batched_tokens) == (256, 2048)
    assert "the GPU is not known" in unknown.notes[0]
    assert not server().notes


def test_more_at_once_than_a_default_allows_says_that_there_are_more_seats() -> None:
    busy = server(of=Machine(), running="4 300")
    assert busy.rules.max_num_seqs == 300
    assert "300 requests ran at once" in busy.notes[1]
    assert server("--max-num-seqs=256", of=Machine(), running="4 300").rules.max_num_seqs == 256  # a gauge may waver


def test_the_latest_capacity_counts_and_else_the_one_that_is_set() -> None:
    assert server(kv_capacity="320000 300000").kv_tokens == 300_000
    assert server("--num-gpu-blocks-override=500", kv_capacity=None).kv_tokens == 8000
    assert server("--max-total-tokens=9000", engine="sglang", release="0.5.23", kv_capacity=None).kv_tokens == 9000


@pytest.mark.parametrize(
    ("flags", "capacity", "reason"),
    [((), None, "name it as kv_cache_tokens"), (("--quantization=awq",), "320000x2", "data types that this server")],
)
def test_a_server_whose_cache_or_types_nobody_knows_is_refused(
    flags: tuple[str, ...], capacity: str | None, reason: str
) -> None:
    with pytest.raises(InvalidInput, match=reason):
        server(*flags, kv_capacity=capacity)


def test_a_change_of_seats_leaves_everything_else() -> None:
    before = server()
    then = after(before, {Knob.MAX_NUM_SEQS: 8})
    assert then.rules.max_num_seqs == 8
    assert (then.kv_tokens, then.types) == (before.kv_tokens, before.types)
    assert changed(before, ()).rules == before.rules


def test_a_change_of_data_types_changes_sizes_and_capacity() -> None:
    then = after(server(), {Knob.KV_CACHE_DTYPE: "fp8", Knob.QUANTIZATION: "fp8"})
    assert then.types == DataTypes(1.0, 1.0)
    assert then.kv_tokens > 2 * 320_000
    assert then.rules.kv_blocks == int(then.kv_tokens // 16) - 1


def test_without_chunks_a_request_longer_than_a_step_is_none_for_this_server() -> None:
    rules = server("--max-model-len=4096", "--no-enable-chunked-prefill", "--max-num-batched-tokens=1000").rules
    assert not rules.takes(Request("long", 0.0, 1500, 10))
    assert rules.takes(Request("short", 0.0, 500, 10))


def test_defaults_that_hang_on_what_changes_follow_it() -> None:
    """vLLM does not run more requests at once than a step has tokens, unless it is told to."""
    assert after(server(), {Knob.MAX_NUM_BATCHED_TOKENS: 512}).rules.max_num_seqs == 512
    with pytest.raises(InvalidInput, match=r"max_num_batched_tokens \(512\) must not be below max_num_seqs \(600\)"):
        after(server("--max-num-seqs=600"), {Knob.MAX_NUM_BATCHED_TOKENS: 512})


def test_a_capacity_that_was_read_from_the_log_is_no_cap() -> None:
    """TGI has no such setting, and its pages do not tell: somebody did, and more memory still holds more."""
    launch = LaunchConfig(("--max-total-tokens=4096", "--cuda-memory-fraction=0.5"))
    config = engines.effective("tgi", launch, {}, {}, "3.3.7").told(change_of({Knob.KV_CACHE_TOKENS: 100_000}))
    told = known(window(engine="tgi", running="4x2"), config, launch, H100)
    assert told.kv_tokens == 100_000
    assert after(told, {Knob.GPU_MEMORY_UTILIZATION: 0.9}).kv_tokens > 200_000


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({Knob.QUANTIZATION: "awq"}, "it takes one of fp8"),
        ({Knob.KV_CACHE_TOKENS: 100}, "would hold 1600 tokens, one request may have 4096"),
        ({Knob.MAX_MODEL_LEN: 400_000}, "would hold 320000 tokens, one request may have 400000"),
        ({Knob.GPU_MEMORY_UTILIZATION: 0.3}, "nothing would be left"),
    ],
)
def test_a_server_that_would_not_start_is_refused(values: Mapping[Knob, KnobValue], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        after(server("--max-model-len=4096", "--gpu-memory-utilization=0.9"), values)


def test_weights_in_8_bit_are_not_foretold_on_processors() -> None:
    """vLLM 0.32 on processors ended at its start when it was tried."""
    with pytest.raises(InvalidInput, match="nothing is known of the speed of 8-bit weights on processors"):
        after(server(of=Machine(CPU)), {Knob.QUANTIZATION: "fp8"})
    assert after(server(of=Machine(CPU)), {Knob.MAX_NUM_SEQS: 8}).types == DataTypes()


def test_a_server_that_runs_with_less_cache_than_its_longest_request_goes_on_doing_so() -> None:
    """SGLang starts so, and refuses the requests that are too long."""
    small = server(
        "--context-length=8192",
        "--max-total-tokens=3000",
        engine="sglang",
        release="0.5.23",
        kv_capacity="3000x2",
        of=Machine(),
    )
    assert changed(small, ()).kv_tokens == 3000
    assert after(small, {Knob.KV_CACHE_TOKENS: 2500}).kv_tokens == 2500


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        (Knob.TENSOR_PARALLEL_SIZE, 2),
        (Knob.LONG_PREFILL_TOKEN_THRESHOLD, 512),
        (Knob.KV_OFFLOADING_GIB, 8.0),
        (Knob.MAX_QUEUED_REQUESTS, 10),
    ],
)
def test_a_setting_that_the_twin_does_not_play_is_refused(knob: Knob, value: KnobValue) -> None:
    with pytest.raises(InvalidInput, match="the twin does not play that"):
        after(server(), {knob: value})


def test_what_a_prefix_cache_would_find_is_not_told_while_it_is_off() -> None:
    with pytest.raises(InvalidInput, match="the twin does not play that"):
        after(server("--no-enable-prefix-caching"), {Knob.ENABLE_PREFIX_CACHING: True})


def test_what_the_server_tells_of_its_machine_counts_where_nobody_else_does_and_that_is_said() -> None:
    seen, launch = window(kv_capacity="320000x2", running="4x2"), LaunchConfig()
    told = replace(H100, gpu_from="the server says so", shape_from="by its name")
    config = replace(engines.effective("vllm", launch, {}, {}, "0.26.0"), machine=told)
    alone = known(seen, config, launch, Machine())
    assert (alone.machine.gpu, alone.machine.shape) == (H100.gpu, H100.shape)
    assert alone.notes == ("the server says so", "by its name")
    other = known(seen, config, launch, Machine("l40s", 1, H100.shape))
    assert (other.machine.gpu, other.notes) == ("l40s", ())
