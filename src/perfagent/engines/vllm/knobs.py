"""vLLM's settings, 0.8 to 0.33.

Sources: `vllm/engine/arg_utils.py`, `vllm/config/{cache,scheduler,parallel}.py`, `vllm/utils/argparse_utils.py`,
`docs/features/quantization/online.md` of the releases named; spans come from comparing 44 releases. Defaults that
depend on the GPU or the entry point (`--max-num-seqs`, `--max-num-batched-tokens`) are unknown here.
"""

from collections.abc import Mapping
from types import MappingProxyType

from perfagent.domain.knob import EffectiveConfig, Knob
from perfagent.engines.spec import CommandLine, KnobSpec, Option, Rule, Type

# plain type names of the model itself: answers stay what they are
_PLAIN = frozenset({"auto", "float16", "bfloat16"})

KNOBS: Mapping[Knob, KnobSpec] = MappingProxyType(
    {
        Knob.MAX_NUM_SEQS: KnobSpec(
            Type.WHOLE,
            (Option("--max-num-seqs"),),
            low=1,
            least_default=128,  # on CPU; 256 or 1024 on GPUs
            note="also sizes runner buffers and graph capture",
        ),
        Knob.MAX_ACTIVE_SEQS: KnobSpec(
            Type.WHOLE,
            (Option("--max-num-active-seqs", since="0.31"),),
            low=1,
            note="without it max_num_seqs is the limit; resizes neither buffers nor graphs",
        ),
        Knob.MAX_NUM_BATCHED_TOKENS: KnobSpec(
            Type.TOKENS,
            (Option("--max-num-batched-tokens"),),
            low=1,
            least_default=2048,  # GPUs below 70 GiB and CPU; TPUs aside
            note="activation memory grows with it, so the KV cache shrinks",
        ),
        Knob.GPU_MEMORY_UTILIZATION: KnobSpec(
            Type.NUMBER,
            (Option("--gpu-memory-utilization"), Option("--device-memory-utilization", since="0.31")),
            above=0.0,
            # legal up to 1; maintainers call 0.90 to 0.95 safe and 1.0 not (vllm-project/vllm issue 1298)
            high=0.95,
            defaults=(("0.20", 0.92), (None, 0.9)),
            note="share of the whole GPU for weights, activations, KV cache and graphs together",
        ),
        Knob.KV_CACHE_DTYPE: KnobSpec(
            Type.TEXT,
            (Option("--kv-cache-dtype"),),
            choices={
                "auto": None,
                "fp8": None,
                "fp8_e4m3": None,
                "fp8_e5m2": None,
                "float16": "0.33",
                "bfloat16": "0.33",
                "nvfp4": "0.33",
                "int4_per_token_head": "0.33",
                "int8_per_token_head": "0.33",
                "fp8_per_token_head": "0.33",
            },
            defaults=((None, "auto"),),
            keeps_answers=_PLAIN,
            note="may switch the attention backend; needs a GPU and backend that support the type",
        ),
        Knob.KV_CACHE_TOKENS: KnobSpec(
            Type.WHOLE,
            (Option("--num-gpu-blocks-override"),),
            low=1,
            note="counted in blocks here; for tests only",
        ),
        Knob.KV_CACHE_MEMORY_BYTES: KnobSpec(
            Type.TOKENS,
            (Option("--kv-cache-memory-bytes", since="0.10.2"), Option("--kv-cache-memory", since="0.10.2")),
            low=1,
        ),
        Knob.KV_OFFLOADING_GIB: KnobSpec(
            Type.NUMBER,
            (Option("--kv-offloading-size", since="0.11.1"),),
            above=0.0,
            note="host memory, in total over tensor-parallel ranks",
        ),
        Knob.QUANTIZATION: KnobSpec(
            Type.TEXT,
            (Option("--quantization"), Option("-q")),
            # only what can be switched on over a full-precision checkpoint
            choices={
                "fp8": None,
                "fp8_per_tensor": "0.33",
                "fp8_per_block": "0.33",
                "fp8_per_channel": "0.33",
                "int8_per_channel_weight_only": "0.33",
                "nvfp4_per_token": "0.33",
                "mxfp8": "0.33",
                "mxfp4": "0.33",
            },
            keeps_answers=frozenset(),
            note="a checkpoint that is quantized already must not be given another method",
        ),
        Knob.ENABLE_PREFIX_CACHING: KnobSpec(
            Type.SWITCH,
            (Option("--enable-prefix-caching", off="--no-enable-prefix-caching"),),
            defaults=(("0.11.1", True),),
        ),
        Knob.CHUNKED_PREFILL: KnobSpec(
            Type.SWITCH,
            (Option("--enable-chunked-prefill", off="--no-enable-chunked-prefill"),),
            defaults=(("0.11.1", True),),
        ),
        Knob.MAX_MODEL_LEN: KnobSpec(
            Type.TOKENS,
            (Option("--max-model-len"),),
            low=1,
            stands_for={-1: ()},  # whatever fits
            note="longer requests are refused afterwards",
        ),
        Knob.BLOCK_SIZE: KnobSpec(Type.WHOLE, (Option("--block-size"),), low=1),
        Knob.LONG_PREFILL_TOKEN_THRESHOLD: KnobSpec(
            Type.WHOLE,
            (Option("--long-prefill-token-threshold", since="0.7.3"),),
            low=0,
            defaults=(("0.7.3", 0),),
            note="0 is off",
        ),
        Knob.MAX_QUEUED_REQUESTS: KnobSpec(
            Type.WHOLE,
            (Option("--max-num-queued-reqs", since="0.29"),),
            low=1,
            note="running ones are counted too, over all data-parallel ranks; beyond it HTTP 503",
        ),
        Knob.TENSOR_PARALLEL_SIZE: KnobSpec(
            Type.WHOLE,
            (Option("--tensor-parallel-size"), Option("-tp")),
            low=1,
            defaults=((None, 1),),
        ),
    }
)

LACKS: Mapping[Knob, str] = MappingProxyType(
    {
        Knob.MIXED_CHUNK: "vLLM always mixes prefill and decode in a step",
        Knob.SCHEDULE_CONSERVATIVENESS: "vLLM admits by free blocks, not by a reservation ratio",
        Knob.MAX_CONCURRENT_REQUESTS: "vLLM limits its queue with max_queued_requests",
    }
)

# flags that begin like a knob's
_OTHERS = frozenset(
    {
        "--max-num-queued-tokens",
        "--max-num-scheduled-tokens",
        "--max-num-partial-prefills",
        "--kv-cache-metrics",
        "--kv-cache-metrics-sample",
        "--kv-cache-dtype-skip-layers",
        "--kv-offloading-backend",
        "--kv-transfer-config",
        "--quantization-config",
        "--enable-expert-parallel",
        "--enable-eplb",
        "--enable-lora",
        "--enable-log-requests",
        "--enable-sleep-mode",
        "--long-prefill-token-threshold-adaptive",
        "--max-long-partial-prefills",
        "--max-logprobs",
        "--max-lora-rank",
        "--max-loras",
        "--max-cudagraph-capture-size",
        "--model",
        "--num-scheduler-steps",
    }
)

COMMAND_LINE = CommandLine(prefixes=True, underscores=True, others=_OTHERS, file="--config")


def _steps_hold_the_batch(config: EffectiveConfig, _: frozenset[Knob]) -> str | None:
    tokens, seqs = config.number(Knob.MAX_NUM_BATCHED_TOKENS), config.number(Knob.MAX_NUM_SEQS)
    if tokens is None or seqs is None or tokens >= seqs:
        return None
    return f"max_num_batched_tokens ({tokens:.0f}) must not be below max_num_seqs ({seqs:.0f}): vLLM would not start"


def _active_within_the_batch(config: EffectiveConfig, _: frozenset[Knob]) -> str | None:
    active, seqs = config.number(Knob.MAX_ACTIVE_SEQS), config.number(Knob.MAX_NUM_SEQS)
    if active is None or seqs is None or active <= seqs:
        return None
    return f"max_num_active_seqs ({active:.0f}) must not exceed max_num_seqs ({seqs:.0f})"


def _whole_prompts_fit_a_step(config: EffectiveConfig, _: frozenset[Knob]) -> str | None:
    tokens, longest = config.number(Knob.MAX_NUM_BATCHED_TOKENS), config.number(Knob.MAX_MODEL_LEN)
    if config.value(Knob.CHUNKED_PREFILL) is not False or tokens is None or longest is None or tokens >= longest:
        return None
    return (
        f"without chunked prefill max_num_batched_tokens ({tokens:.0f}) must not be below max_model_len ({longest:.0f})"
    )


def _threshold_within_length(config: EffectiveConfig, _: frozenset[Knob]) -> str | None:
    threshold, longest = config.number(Knob.LONG_PREFILL_TOKEN_THRESHOLD), config.number(Knob.MAX_MODEL_LEN)
    if threshold is None or longest is None or threshold <= longest:
        return None
    return f"long_prefill_token_threshold ({threshold:.0f}) must not exceed max_model_len ({longest:.0f})"


def _memory_share_counts(config: EffectiveConfig, changed: frozenset[Knob]) -> str | None:
    for cap in (Knob.KV_CACHE_MEMORY_BYTES, Knob.KV_CACHE_TOKENS):
        if Knob.GPU_MEMORY_UTILIZATION in changed and config.value(cap) is not None:
            return f"gpu_memory_utilization has no effect on the KV cache while {cap} fixes its size"
    return None


RULES = (
    Rule(frozenset({Knob.MAX_NUM_BATCHED_TOKENS, Knob.MAX_NUM_SEQS}), _steps_hold_the_batch),
    Rule(frozenset({Knob.MAX_ACTIVE_SEQS, Knob.MAX_NUM_SEQS}), _active_within_the_batch),
    Rule(frozenset({Knob.MAX_NUM_BATCHED_TOKENS, Knob.MAX_MODEL_LEN, Knob.CHUNKED_PREFILL}), _whole_prompts_fit_a_step),
    Rule(frozenset({Knob.LONG_PREFILL_TOKEN_THRESHOLD, Knob.MAX_MODEL_LEN}), _threshold_within_length),
    Rule(frozenset({Knob.GPU_MEMORY_UTILIZATION}), _memory_share_counts),
)
