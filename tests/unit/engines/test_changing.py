import pytest

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Change, Knob, KnobValue, LaunchConfig

SEATS: Change = ((Knob.MAX_NUM_SEQS, 64),)


def flags(engine: str, before: list[str], knob: Knob, value: KnobValue, release: str | None = None) -> list[str]:
    return list(engines.render(engine, LaunchConfig(tuple(before)), ((knob, value),), release).flags)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["--max-num-seqs=8"], ["--max-num-seqs=64"]),
        (["--max-num-seqs", "8"], ["--max-num-seqs", "64"]),
        (["--max_num_seqs", "8", "--seed", "1"], ["--max_num_seqs", "64", "--seed", "1"]),
        (["--max-num-se=8"], ["--max-num-se=64"]),
        (
            ["--max-num-seqs=8", "--seed=1", "--max-num-seqs", "9"],
            ["--max-num-seqs=64", "--seed=1", "--max-num-seqs", "64"],
        ),
        (["--max-num-seqs", "064"], ["--max-num-seqs", "064"]),
        (["--max-num-seqs"], ["--max-num-seqs=64"]),
        ([], ["--max-num-seqs=64"]),
        (["--seed=1"], ["--seed=1", "--max-num-seqs=64"]),
        (["--seed", "1"], ["--seed", "1", "--max-num-seqs", "64"]),
        (["--seed=1", "--", "x"], ["--seed=1", "--max-num-seqs=64", "--", "x"]),
    ],
)
def test_a_flag_is_edited_where_it_stands_and_as_it_is_written(before: list[str], after: list[str]) -> None:
    assert flags("vllm", before, Knob.MAX_NUM_SEQS, 64) == after


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        (["--no-enable-prefix-caching"], True, ["--enable-prefix-caching"]),
        (["--enable_prefix_caching"], True, ["--enable_prefix_caching"]),
        (["--enable-prefix-caching=false"], True, ["--enable-prefix-caching=true"]),
        (["--enable-prefix-caching", "False"], True, ["--enable-prefix-caching", "true"]),
        (["--no-enable-prefix-caching=true"], True, ["--no-enable-prefix-caching=false"]),
        (["--seed=1"], False, ["--seed=1", "--no-enable-prefix-caching"]),
    ],
)
def test_a_pair_of_switches_is_turned_in_place(before: list[str], value: bool, after: list[str]) -> None:
    assert flags("vllm", before, Knob.ENABLE_PREFIX_CACHING, value) == after


def test_a_switch_that_is_only_present_or_not_is_added_and_taken_away() -> None:
    assert flags("sglang", ["--enable-metrics"], Knob.ENABLE_PREFIX_CACHING, False) == [
        "--enable-metrics",
        "--disable-radix-cache",
    ]
    assert flags("sglang", ["--disable-radix-cache", "--tp-size=2"], Knob.ENABLE_PREFIX_CACHING, True) == [
        "--tp-size=2"
    ]
    assert flags("sglang", ["--disable-radix-cache"], Knob.ENABLE_PREFIX_CACHING, False) == ["--disable-radix-cache"]


def test_an_alias_stays_the_alias_it_is() -> None:
    assert flags("vllm", ["-q", "fp8"], Knob.QUANTIZATION, "fp8_per_block", "0.33.0") == ["-q", "fp8_per_block"]
    assert flags("sglang", ["--tensor-parallel-size=2"], Knob.TENSOR_PARALLEL_SIZE, 4) == ["--tensor-parallel-size=4"]


def test_tgis_environment_is_edited_where_it_is_the_one_that_is_set() -> None:
    before = LaunchConfig(("--quantize", "eetq"), (("HF_HOME", "/data"), ("MAX_BATCH_SIZE", "8")))
    after = engines.render("tgi", before, SEATS, "3.3.7")
    assert after == LaunchConfig(before.flags, (("HF_HOME", "/data"), ("MAX_BATCH_SIZE", "64")))
    both = LaunchConfig(("--max-batch-size", "4"), before.env)
    assert engines.render("tgi", both, SEATS, "3.3.7") == LaunchConfig(("--max-batch-size", "64"), before.env)
    neither = engines.render("tgi", LaunchConfig(before.flags), SEATS, "3.3.7")
    assert neither.flags == ("--quantize", "eetq", "--max-batch-size", "64")


def test_what_only_the_environment_says_is_set_there() -> None:
    off = engines.render("tgi", LaunchConfig(), ((Knob.ENABLE_PREFIX_CACHING, False),), "3.3.7")
    assert off == LaunchConfig((), (("PREFIX_CACHING", "0"),))
    on = engines.render("tgi", off, ((Knob.ENABLE_PREFIX_CACHING, True),), "3.3.7")
    assert on.env == (("PREFIX_CACHING", "1"),)


def test_a_value_said_by_saying_nothing_removes_flag_and_variable() -> None:
    before = LaunchConfig(("--kv-cache-dtype", "fp8_e5m2", "--json-output"), (("KV_CACHE_DTYPE", "fp8_e5m2"),))
    after = engines.render("tgi", before, ((Knob.KV_CACHE_DTYPE, "auto"),), "3.3.7")
    assert after == LaunchConfig(("--json-output",))


def test_a_flag_is_written_in_the_spelling_that_the_release_has() -> None:
    change: Change = ((Knob.GPU_MEMORY_UTILIZATION, 0.95), (Knob.KV_CACHE_DTYPE, "fp8"))
    assert engines.spell("vllm", change, "0.26.0") == ("--gpu-memory-utilization=0.95", "--kv-cache-dtype=fp8")
    assert engines.spell("sglang", ((Knob.GPU_MEMORY_UTILIZATION, 0.9),), None) == ("--mem-fraction-static=0.9",)


def test_a_change_is_spelled_for_people() -> None:
    assert engines.spell("tgi", ((Knob.ENABLE_PREFIX_CACHING, True),), "3.3.7") == ("PREFIX_CACHING=1",)
    assert engines.spell("tgi", ((Knob.KV_CACHE_DTYPE, "auto"),), None) == ("without --kv-cache-dtype",)
    assert engines.spell("sglang", ((Knob.ENABLE_PREFIX_CACHING, True),), None) == ("without --disable-radix-cache",)
    assert engines.spell("vllm", ((Knob.ENABLE_PREFIX_CACHING, False),), None) == ("--no-enable-prefix-caching",)


def test_a_knob_that_engine_or_release_lack_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidInput, match="vllm has no mixed_chunk: vLLM always mixes"):
        flags("vllm", [], Knob.MIXED_CHUNK, True)
    with pytest.raises(
        InvalidInput, match=r"vllm 0\.26\.0 has no max_queued_requests: --max-num-queued-reqs came with 0\.29"
    ):
        flags("vllm", [], Knob.MAX_QUEUED_REQUESTS, 10, "0.26.0")
