"""SGLang's settings, 0.3 to 0.5.23.

Sources: `python/sglang/srt/server_args.py`, `python/sglang/srt/arg_groups/` of the releases named; spans come from
comparing 48 releases. Defaults computed from the GPU's memory are unknown here; `/server_info` tells what they became.
"""

from collections.abc import Mapping
from types import MappingProxyType

from perfagent.domain.knob import EffectiveConfig, Knob
from perfagent.engines.spec import CommandLine, KnobSpec, Option, Rule, Type

KNOBS: Mapping[Knob, KnobSpec] = MappingProxyType(
    {
        Knob.MAX_NUM_SEQS: KnobSpec(
            Type.WHOLE,
            (Option("--max-running-requests"),),
            low=1,
            least_default=48,  # with speculative decoding; else 2048 to 4096, and at most half the KV cache's tokens
            note="the server may lower it to what its memory allows (sgl-project/sglang issue 30160)",
        ),
        Knob.MAX_NUM_BATCHED_TOKENS: KnobSpec(
            Type.TOKENS,
            (Option("--chunked-prefill-size"),),
            low=1,
            least_default=2048,  # GPUs below 35 GB
            stands_for=dict.fromkeys((-1, 0), ((Knob.CHUNKED_PREFILL, False),)),
            note="bounds the prefill part of a step; a multiple of the page size",
        ),
        Knob.GPU_MEMORY_UTILIZATION: KnobSpec(
            Type.NUMBER,
            (Option("--mem-fraction-static"),),
            above=0.0,
            # legal below 1; the same caution as for vLLM, though it leaves more out of the share
            high=0.95,
            note="not vLLM's quantity: share of the GPU for weights and KV pool; activations and graphs come on top, "
            "and too large a value runs out of memory only later, under load",
        ),
        Knob.KV_CACHE_DTYPE: KnobSpec(
            Type.TEXT,
            (Option("--kv-cache-dtype"),),
            choices={
                "auto": None,
                "fp8_e5m2": None,
                "fp8_e4m3": None,
                "bf16": "0.5.23",
                "bfloat16": "0.5.23",
                "mxfp8": "0.5.23",
                "nvfp4": "0.5.23",
                "fp4_mx_block16": "0.5.23",
            },
            defaults=((None, "auto"),),
            keeps_answers=frozenset({"auto", "bf16", "bfloat16"}),
            note="very slow where the attention backend does not fuse the dequantization",
        ),
        Knob.KV_CACHE_TOKENS: KnobSpec(
            Type.TOKENS, (Option("--max-total-tokens"),), low=1, note="caps the KV pool, in tokens; for tests only"
        ),
        Knob.QUANTIZATION: KnobSpec(
            Type.TEXT,
            (Option("--quantization"),),
            # only what can be switched on over a full-precision checkpoint
            choices={
                "fp8": None,
                "mxfp8": "0.5.23",
                "w8a8_int8": "0.5.23",
                "w8a8_fp8": "0.5.23",
                "bitsandbytes": "0.5.23",
                "nvfp4_online": "0.5.23",
            },
            keeps_answers=frozenset(),
            note="a checkpoint that is quantized already must not be given another method",
        ),
        Knob.ENABLE_PREFIX_CACHING: KnobSpec(
            Type.SWITCH, (Option("--disable-radix-cache", present_means=False),), defaults=((None, True),)
        ),
        Knob.MIXED_CHUNK: KnobSpec(
            Type.SWITCH, (Option("--enable-mixed-chunk", present_means=True),), defaults=((None, False),)
        ),
        Knob.MAX_MODEL_LEN: KnobSpec(
            Type.TOKENS, (Option("--context-length"),), low=1, note="longer requests are refused afterwards"
        ),
        Knob.BLOCK_SIZE: KnobSpec(
            Type.WHOLE,
            (Option("--page-size", since="0.4.4"),),
            low=1,
            note="the attention backend may need a larger one",
        ),
        Knob.SCHEDULE_CONSERVATIVENESS: KnobSpec(
            Type.NUMBER,
            (Option("--schedule-conservativeness"),),
            above=0.0,
            defaults=((None, 1.0),),
            note="lower admits more and retracts more",
        ),
        Knob.MAX_QUEUED_REQUESTS: KnobSpec(
            Type.WHOLE, (Option("--max-queued-requests", since="0.4.9.post6"),), low=1, note="beyond it HTTP 503"
        ),
        Knob.TENSOR_PARALLEL_SIZE: KnobSpec(
            Type.WHOLE,
            (Option("--tp-size"), Option("--tensor-parallel-size")),
            low=1,
            defaults=((None, 1),),
        ),
    }
)

LACKS: Mapping[Knob, str] = MappingProxyType(
    {
        Knob.MAX_ACTIVE_SEQS: "SGLang has one limit, max_num_seqs",
        Knob.CHUNKED_PREFILL: "in SGLang it is off when the chunk size is -1; change max_num_batched_tokens instead",
        Knob.KV_CACHE_MEMORY_BYTES: "SGLang sizes its KV pool by gpu_memory_utilization",
        Knob.KV_OFFLOADING_GIB: "SGLang's host tier is a set of settings (--enable-hierarchical-cache, --hicache-*)",
        Knob.LONG_PREFILL_TOKEN_THRESHOLD: "SGLang bounds prefill by its chunk size alone",
        Knob.MAX_CONCURRENT_REQUESTS: "SGLang limits its queue with max_queued_requests",
    }
)

# flags that begin like a knob's
_OTHERS = frozenset(
    {
        "--max-prefill-tokens",
        "--max-mamba-cache-size",
        "--quantization-param-path",
        "--disable-cuda-graph",
        "--disable-cuda-graph-padding",
        "--disable-overlap-schedule",
        "--enable-metrics",
        "--enable-memory-saver",
        "--schedule-policy",
        "--tokenizer-path",
        "--model-path",
    }
)

COMMAND_LINE = CommandLine(prefixes=True, underscores=False, others=_OTHERS, file="--config")


def _chunks_are_whole_pages(config: EffectiveConfig, _: frozenset[Knob]) -> str | None:
    chunk, page = config.number(Knob.MAX_NUM_BATCHED_TOKENS), config.number(Knob.BLOCK_SIZE)
    if chunk is None or page is None or chunk % page == 0:
        return None
    return f"the chunk size ({chunk:.0f}) must be a multiple of the page size ({page:.0f}): SGLang would not start"


def _memory_share_counts(config: EffectiveConfig, changed: frozenset[Knob]) -> str | None:
    if Knob.GPU_MEMORY_UTILIZATION not in changed or config.value(Knob.KV_CACHE_TOKENS) is None:
        return None
    return "gpu_memory_utilization has no effect on the KV cache while kv_cache_tokens caps its size"


RULES = (
    Rule(frozenset({Knob.MAX_NUM_BATCHED_TOKENS, Knob.BLOCK_SIZE}), _chunks_are_whole_pages),
    Rule(frozenset({Knob.GPU_MEMORY_UTILIZATION}), _memory_share_counts),
)
