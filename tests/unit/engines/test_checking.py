import pytest

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import EffectiveConfig, Knob, KnobValue, Setting, Source


def config(release: str | None = None, **settings: KnobValue) -> EffectiveConfig:
    return EffectiveConfig({Knob(k): Setting(v, Source.FLAG) for k, v in settings.items()}, release)


REFUSED: list[tuple[str, Knob, KnobValue, EffectiveConfig, str]] = [
    ("vllm", Knob.MAX_NUM_SEQS, 0, config(), "at least 1"),
    ("vllm", Knob.MAX_NUM_SEQS, True, config(), "a whole number"),
    ("vllm", Knob.MAX_NUM_SEQS, 64.0, config(), "a whole number"),
    ("vllm", Knob.MAX_NUM_SEQS, "64", config(), "a whole number"),
    ("vllm", Knob.ENABLE_PREFIX_CACHING, 1, config(), "true or false"),
    ("vllm", Knob.GPU_MEMORY_UTILIZATION, 0.96, config(), "at most 0.95"),
    ("vllm", Knob.GPU_MEMORY_UTILIZATION, 0.0, config(), "above 0"),
    ("vllm", Knob.GPU_MEMORY_UTILIZATION, float("nan"), config(), "a number"),
    ("vllm", Knob.KV_CACHE_DTYPE, "fp4", config(), "one of auto, fp8"),
    ("vllm", Knob.KV_CACHE_DTYPE, "nvfp4", config("0.26.0"), "not known before 0.33"),
    ("vllm", Knob.QUANTIZATION, "awq", config(), "one of fp8"),
    ("vllm", Knob.MAX_QUEUED_REQUESTS, 100, config("0.28.1"), "came with 0.29"),
    ("vllm", Knob.KV_OFFLOADING_GIB, 8.0, config("0.10.1"), "came with 0.11.1"),
    ("vllm", Knob.MAX_NUM_BATCHED_TOKENS, 64, config(max_num_seqs=256), "must not be below max_num_seqs"),
    ("vllm", Knob.MAX_NUM_SEQS, 4096, config(max_num_batched_tokens=2048), "must not be below max_num_seqs"),
    (
        "vllm",
        Knob.MAX_NUM_BATCHED_TOKENS,
        2048,
        config(chunked_prefill=False, max_model_len=8192),
        "must not be below max_model_len",
    ),
    ("vllm", Knob.MAX_ACTIVE_SEQS, 65, config(max_num_seqs=64), "must not exceed max_num_seqs"),
    ("vllm", Knob.LONG_PREFILL_TOKEN_THRESHOLD, 9000, config(max_model_len=8192), "must not exceed max_model_len"),
    ("vllm", Knob.GPU_MEMORY_UTILIZATION, 0.94, config(kv_cache_tokens=40), "while kv_cache_tokens fixes its size"),
    ("vllm", Knob.GPU_MEMORY_UTILIZATION, 0.94, config(kv_cache_memory_bytes=2**30), "while kv_cache_memory_bytes"),
    ("sglang", Knob.MAX_NUM_BATCHED_TOKENS, 1000, config(block_size=64), "a multiple of the page size"),
    ("sglang", Knob.GPU_MEMORY_UTILIZATION, 0.9, config(kv_cache_tokens=20000), "caps its size"),
    ("sglang", Knob.CHUNKED_PREFILL, False, config(), "change max_num_batched_tokens instead"),
    ("sglang", Knob.KV_OFFLOADING_GIB, 8.0, config(), "--enable-hierarchical-cache"),
    ("tgi", Knob.KV_CACHE_TOKENS, 100000, config(), "ignores --max-batch-total-tokens"),
    ("tgi", Knob.MAX_NUM_BATCHED_TOKENS, 2048, config(chunked_prefill=False, max_model_len=4096), "longest input"),
    ("tgi", Knob.KV_CACHE_DTYPE, "fp8", config(), "one of auto, fp8_e4m3fn, fp8_e5m2"),
]


@pytest.mark.parametrize(
    ("engine", "knob", "value", "now", "reason"), REFUSED, ids=[f"{r[0]}-{r[1]}-{r[2]}" for r in REFUSED]
)
def test_what_cannot_be_meant_is_refused_with_the_reason(
    engine: str, knob: Knob, value: KnobValue, now: EffectiveConfig, reason: str
) -> None:
    with pytest.raises(InvalidInput, match=reason):
        engines.check(engine, ((knob, value),), now)


@pytest.mark.parametrize(
    ("knob", "kind"), [(Knob.MAX_NUM_SEQS, "a whole number"), (Knob.KV_OFFLOADING_GIB, "a number")]
)
def test_a_number_beyond_64_bits_is_refused(knob: Knob, kind: str) -> None:
    for value in (2**63, 10**400, -(10**400)):
        with pytest.raises(InvalidInput, match=f"it takes {kind}"):
            engines.check("vllm", ((knob, value),), config())


ACCEPTED: list[tuple[str, Knob, KnobValue, EffectiveConfig]] = [
    ("vllm", Knob.MAX_NUM_SEQS, 256, config(max_num_batched_tokens=2048)),
    ("vllm", Knob.MAX_NUM_BATCHED_TOKENS, 2048, config(chunked_prefill=True, max_model_len=8192)),
    ("vllm", Knob.LONG_PREFILL_TOKEN_THRESHOLD, 2048, config(max_model_len=8192)),
    ("vllm", Knob.GPU_MEMORY_UTILIZATION, 0.95, config("0.26.0", gpu_memory_utilization=0.25)),
    ("vllm", Knob.MAX_QUEUED_REQUESTS, 100, config()),
    ("vllm", Knob.KV_OFFLOADING_GIB, 8, config("0.11.1")),
    ("sglang", Knob.MAX_NUM_BATCHED_TOKENS, 4096, config(block_size=64)),
    ("tgi", Knob.MAX_NUM_BATCHED_TOKENS, 4095, config(chunked_prefill=False, max_model_len=4096)),
    ("tgi", Knob.MAX_NUM_BATCHED_TOKENS, 512, config(max_model_len=4096)),
]


@pytest.mark.parametrize(("engine", "knob", "value", "now"), ACCEPTED, ids=[f"{r[0]}-{r[1]}" for r in ACCEPTED])
def test_what_can_be_meant_passes(engine: str, knob: Knob, value: KnobValue, now: EffectiveConfig) -> None:
    engines.check(engine, ((knob, value),), now)


def test_a_contradiction_that_the_change_does_not_touch_is_not_its_fault() -> None:
    now = config(max_num_seqs=256, max_num_batched_tokens=64)
    engines.check("vllm", ((Knob.KV_CACHE_DTYPE, "fp8"),), now)


def test_knobs_changed_together_are_judged_together() -> None:
    now = config(max_num_seqs=64, max_num_batched_tokens=64)
    engines.check("vllm", ((Knob.MAX_NUM_SEQS, 256), (Knob.MAX_NUM_BATCHED_TOKENS, 512)), now)


@pytest.mark.parametrize(
    ("engine", "knob", "value", "alters"),
    [
        ("vllm", Knob.QUANTIZATION, "fp8", True),
        ("vllm", Knob.KV_CACHE_DTYPE, "fp8", True),
        ("vllm", Knob.KV_CACHE_DTYPE, "auto", False),
        ("vllm", Knob.KV_CACHE_DTYPE, "bfloat16", False),
        ("vllm", Knob.MAX_NUM_SEQS, 64, False),
        ("sglang", Knob.KV_CACHE_DTYPE, "fp8_e4m3", True),
        ("tgi", Knob.QUANTIZATION, "eetq", True),
        ("tgi", Knob.MIXED_CHUNK, True, False),
    ],
)
def test_number_formats_may_alter_answers(engine: str, knob: Knob, value: KnobValue, alters: bool) -> None:
    assert engines.alters_answers(engine, knob, value) is alters


def test_bounds_are_legal_and_safe() -> None:
    assert engines.bounds("vllm", Knob.GPU_MEMORY_UTILIZATION, "0.26.0") == (0.0, 0.95)
    assert engines.bounds("vllm", Knob.MAX_NUM_SEQS, None) == (1, None)
    assert engines.bounds("tgi", Knob.GPU_MEMORY_UTILIZATION, None) == (0.0, 1.0)
    with pytest.raises(InvalidInput, match="tgi has no block_size"):
        engines.bounds("tgi", Knob.BLOCK_SIZE, None)


def test_support_follows_the_release() -> None:
    assert not engines.supports("vllm", Knob.MAX_QUEUED_REQUESTS, "0.28.0")
    assert engines.supports("vllm", Knob.MAX_QUEUED_REQUESTS, "0.29.0")
    assert engines.supports("vllm", Knob.MAX_QUEUED_REQUESTS, None)
    assert not engines.supports("tgi", Knob.BLOCK_SIZE, None)


def test_nothing_in_the_three_engines_changes_without_a_restart() -> None:
    assert all(engines.needs_restart(name, knob) for name, spec in engines.ENGINES.items() for knob in spec.knobs)
