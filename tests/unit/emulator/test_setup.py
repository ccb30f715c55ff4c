from dataclasses import replace

import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Knob, LaunchConfig
from perfagent.emulator import Machine, gpu, model
from perfagent.emulator.setup import Setup, StartFailed, prepare
from support.fleets import RELEASES, machine


def of(*flags: str, on: Machine | None = None, env: tuple[tuple[str, str], ...] = ()) -> Setup:
    return prepare(on or machine(), LaunchConfig(flags, env))


SGLANG, TGI = machine("sglang", "0.5.23"), machine("tgi", "3.3.7")


@pytest.mark.parametrize(("engine", "release"), RELEASES)
def test_every_engine_starts_without_flags_and_fills_most_of_the_memory_with_kv_cache(
    engine: str, release: str
) -> None:
    setup = of(on=machine(engine, release))
    # 80 GiB less 16 GB of weights and some 10 % leave 50 to 60 GiB at 128 KiB a token
    assert 400_000 < setup.rules.kv_capacity_tokens < 480_000
    assert setup.max_len == 131_072


def test_defaults_follow_the_hardware() -> None:
    assert of().rules.max_num_seqs == 1024
    assert of().rules.max_num_batched_tokens == 8192
    a100 = of(on=machine(on="a100-80")).rules
    assert (a100.max_num_seqs, a100.max_num_batched_tokens) == (1024, 2048)
    small = of("--max-model-len=8192", on=machine(on="l40s")).rules
    assert (small.max_num_seqs, small.max_num_batched_tokens) == (256, 2048)
    assert of(on=machine("sglang", "0.5.23", on="h200")).rules.max_num_batched_tokens == 8192


def test_flags_of_each_engine_reach_the_scheduler() -> None:
    vllm = of("--max-num-seqs=8", "--max-num-batched-tokens", "2k", "--no-enable-prefix-caching").rules
    assert (vllm.max_num_seqs, vllm.max_num_batched_tokens, vllm.prefix_caching) == (8, 2000, False)
    sglang = of("--max-running-requests", "8", "--chunked-prefill-size", "2048", "--disable-radix-cache", on=SGLANG)
    assert (sglang.rules.max_num_seqs, sglang.rules.max_num_batched_tokens) == (8, 2048)
    assert (sglang.rules.prefix_caching, sglang.rules.mixed) == (False, False)
    tgi = of("--max-batch-size=8", on=TGI, env=(("MAX_BATCH_PREFILL_TOKENS", "2048"), ("PREFIX_CACHING", "0")))
    assert (tgi.rules.max_num_seqs, tgi.rules.max_num_batched_tokens, tgi.rules.prefix_caching) == (8, 2048, False)


def test_engines_keep_their_habits_of_admission() -> None:
    assert of().rules.reserve_output_ratio == 0
    assert 0 < of(on=SGLANG).rules.reserve_output_ratio < 0.2
    assert of("--schedule-conservativeness=0.5", on=SGLANG).rules.reserve_output_ratio < 0.098
    assert of(on=TGI).rules.reserve_output_ratio == 1
    assert of("--enable-mixed-chunk", on=SGLANG).rules.mixed


def test_a_chunk_size_of_minus_one_turns_chunking_off_in_sglang() -> None:
    rules = of("--chunked-prefill-size", "-1", "--context-length=8192", on=SGLANG).rules
    assert (rules.chunked_prefill, rules.max_num_batched_tokens) == (False, 8192)


def test_more_memory_is_more_cache_and_larger_steps_take_some_of_it() -> None:
    capacities = [
        of(*flags).rules.kv_capacity_tokens
        for flags in (
            ("--gpu-memory-utilization=0.7",),
            ("--max-num-batched-tokens=32768",),
            (),
            ("--gpu-memory-utilization=0.95",),
        )
    ]
    assert capacities == sorted(capacities)
    assert len(set(capacities)) == 4


def test_sglangs_share_is_for_weights_and_cache_alone_so_the_same_number_means_more_cache() -> None:
    sglang = of("--mem-fraction-static=0.8", on=SGLANG).rules.kv_capacity_tokens
    assert sglang > of("--gpu-memory-utilization=0.8").rules.kv_capacity_tokens


def test_an_8_bit_cache_holds_twice_the_tokens_and_8_bit_weights_leave_more_room() -> None:
    full = of().rules.kv_capacity_tokens
    assert of("--kv-cache-dtype=fp8").rules.kv_capacity_tokens == pytest.approx(2 * full, rel=0.001)
    room = 8.03e9 / (128 * 1024)
    assert of("--quantization=fp8").rules.kv_capacity_tokens - full == pytest.approx(room, rel=0.01)


def test_explicit_caps_count_as_the_engine_counts_them() -> None:
    blocks = of("--num-gpu-blocks-override=1001", "--max-model-len=8192").rules
    assert blocks.kv_blocks == 1000  # vLLM keeps one for itself
    tokens = of("--max-total-tokens=20000", "--context-length=8192", on=SGLANG).rules
    assert tokens.kv_capacity_tokens == 20_000
    fixed = of("--kv-cache-memory-bytes=4294967296", "--max-model-len=8192").rules
    assert fixed.kv_capacity_tokens == pytest.approx(4 * 2**30 / 2**17, abs=32)


def test_tensor_parallelism_adds_memory() -> None:
    two = replace(machine(), gpus=2)
    one = of().rules.kv_capacity_tokens
    assert of("--tensor-parallel-size=2", on=two).rules.kv_capacity_tokens > 2 * one


def test_default_batch_limits_give_way_to_given_ones_but_given_ones_must_fit() -> None:
    assert of("--max-num-batched-tokens=128").rules.max_num_seqs == 128
    with pytest.raises(StartFailed, match=r"max_num_batched_tokens \(128\)"):
        of("--max-num-batched-tokens=128", "--max-num-seqs=256")


def test_without_chunking_a_step_holds_the_longest_prompt() -> None:
    assert of("--no-enable-chunked-prefill", "--max-model-len=16384").rules.max_num_batched_tokens == 16_384
    with pytest.raises(StartFailed, match="without chunked prefill"):
        of("--no-enable-chunked-prefill", "--max-model-len=16384", "--max-num-batched-tokens=8192")


@pytest.mark.parametrize(
    ("on", "flags", "words"),
    [
        (None, ["--bogus", "3"], "unrecognized arguments: --bogus"),
        (None, ["stray"], "unrecognized arguments: stray"),
        (None, ["--max-num-seqs=many"], "argument --max-num-seqs: invalid value: 'many'"),
        (None, ["--max-num-seqs=0"], "max_num_seqs must be at least 1, not 0"),
        (SGLANG, ["--schedule-conservativeness=-1"], "schedule_conservativeness must be at least 0, not -1"),
        (None, ["--kv-cache-dtype=fp9"], "invalid KV cache type: 'fp9'"),
        (None, ["--kv-cache-dtype=octave_3"], "invalid KV cache type: 'octave_3'"),
        (None, ["--gpu-memory-utilization=0.99"], r"Free memory on device cuda:0 \(78.05/79.65 GiB\)"),
        (None, ["--gpu-memory-utilization=0.2"], "No available memory for the cache blocks"),
        (None, ["--gpu-memory-utilization=0.3"], r"at least one request with the model's max seq len \(131072\)"),
        (None, ["--max-model-len=200000"], r"max_model_len \(200000\) is greater than the model's 131072"),
        (None, ["--quantization=awq"], "Cannot find the config file for awq"),
        (None, ["--tensor-parallel-size=2"], r"World size \(2\) is larger than the number of available GPUs \(1\)"),
        (None, ["--kv-cache-memory-bytes=80G"], "CUDA out of memory"),
        (SGLANG, ["--gpu-memory-utilization=0.9"], "unrecognized arguments: --gpu-memory-utilization"),
        (SGLANG, ["--mem-fraction-static=0.97"], "Capture cuda graph failed"),
        (SGLANG, ["--mem-fraction-static=0.15"], "Not enough memory. Please try to increase --mem-fraction-static"),
        (TGI, ["--max-num-seqs=8"], "unexpected argument '--max-num-seqs' found"),
        (TGI, ["--cuda-memory-fraction=0.3"], "`max_total_tokens` must be <= `max_batch_total_tokens`"),
    ],
)
def test_what_a_real_server_would_not_start_with_ends_in_its_kind_of_message(
    on: Machine | None, flags: list[str], words: str
) -> None:
    with pytest.raises(StartFailed, match=words):
        of(*flags, on=on)


def test_a_flag_that_came_later_or_is_gone_stops_an_older_release() -> None:
    with pytest.raises(StartFailed, match="--max-num-queued-reqs"):
        of("--max-num-queued-reqs=100", on=machine("vllm", "0.10.1"))
    assert of("--max-num-queued-reqs=100").request_limit == 100


def test_flags_that_change_nothing_here_are_taken() -> None:
    assert of("--served-model-name", "chat", "--seed=3", "--enforce_eager").rules == of().rules


def test_an_engine_without_habits_cannot_be_emulated() -> None:
    with pytest.raises(InvalidInput, match=r"llama\.cpp"):
        prepare(Machine("llama.cpp", "1.0", gpu("h100"), model("llama-3.1-8b")), LaunchConfig())


def test_what_is_in_force_is_told_with_defaults_resolved() -> None:
    values = of("--max-num-seqs=8").values
    assert values[Knob.MAX_NUM_SEQS] == 8
    assert values[Knob.MAX_NUM_BATCHED_TOKENS] == 8192
    assert values[Knob.BLOCK_SIZE] == 16
    assert values[Knob.GPU_MEMORY_UTILIZATION] == 0.92
