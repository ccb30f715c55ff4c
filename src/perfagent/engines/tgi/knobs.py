"""TGI's settings, 3.0 to 3.3.7 (the last release).

Sources: `launcher/src/main.rs`, `backends/v3/src/main.rs`, `docs/source/reference/launcher.md`. Every flag has an
environment variable (upper case, dashes as underscores), and the command line wins. What TGI infers from the model and
the GPU (`--max-total-tokens`, `--max-batch-prefill-tokens`) is unknown here.
"""

from collections.abc import Mapping
from math import inf
from types import MappingProxyType

from perfagent.domain.knob import EffectiveConfig, Knob
from perfagent.engines.spec import CommandLine, KnobSpec, Option, Rule, Type


def _option(flag: str, *, since: str | None = None) -> Option:
    return Option(flag, env=flag.removeprefix("--").replace("-", "_").upper(), since=since)


KNOBS: Mapping[Knob, KnobSpec] = MappingProxyType(
    {
        Knob.MAX_NUM_SEQS: KnobSpec(
            Type.WHOLE,
            (_option("--max-batch-size"),),
            low=1,
            least_default=inf,  # without it any number may run
        ),
        Knob.MAX_NUM_BATCHED_TOKENS: KnobSpec(
            Type.WHOLE,
            (_option("--max-batch-prefill-tokens"),),
            low=1,
            note="bounds the prefill part of a step",
        ),
        Knob.GPU_MEMORY_UTILIZATION: KnobSpec(
            Type.NUMBER,
            (_option("--cuda-memory-fraction"),),
            above=0.0,
            high=1.0,
            defaults=((None, 1.0),),
            note="the KV cache takes 90 % (TGI_WIGGLE_ROOM) of what is left of this share after warm-up",
        ),
        Knob.KV_CACHE_DTYPE: KnobSpec(
            Type.TEXT,
            (_option("--kv-cache-dtype", since="3.0"),),
            choices={"auto": None, "fp8_e4m3fn": None, "fp8_e5m2": None},
            defaults=(("3.0", "auto"),),
            unset="auto",
            keeps_answers=frozenset({"auto"}),
        ),
        Knob.QUANTIZATION: KnobSpec(
            Type.TEXT,
            (_option("--quantize"),),
            # only what can be switched on over a full-precision checkpoint
            choices={
                "fp8": "3.0",
                "eetq": None,
                "bitsandbytes": None,
                "bitsandbytes-nf4": None,
                "bitsandbytes-fp4": None,
            },
            keeps_answers=frozenset(),
            note="not together with --dtype",
        ),
        Knob.ENABLE_PREFIX_CACHING: KnobSpec(Type.SWITCH, (Option(env="PREFIX_CACHING", since="3.0"),)),
        Knob.CHUNKED_PREFILL: KnobSpec(Type.SWITCH, (Option(env="PREFILL_CHUNKING", since="3.0"),)),
        Knob.MAX_MODEL_LEN: KnobSpec(
            Type.WHOLE, (_option("--max-total-tokens"),), low=1, note="longer requests are refused afterwards"
        ),
        Knob.MAX_CONCURRENT_REQUESTS: KnobSpec(
            Type.WHOLE,
            (_option("--max-concurrent-requests"),),
            low=1,
            defaults=((None, 128),),
            note="running and waiting together; beyond it HTTP 429",
        ),
        Knob.TENSOR_PARALLEL_SIZE: KnobSpec(Type.WHOLE, (_option("--num-shard"),), low=1),
    }
)

LACKS: Mapping[Knob, str] = MappingProxyType(
    {
        Knob.MAX_ACTIVE_SEQS: "TGI has one limit, max_num_seqs",
        Knob.KV_CACHE_TOKENS: "TGI ignores --max-batch-total-tokens for flash models and infers it at warm-up",
        Knob.KV_CACHE_MEMORY_BYTES: "TGI sizes its KV cache by gpu_memory_utilization",
        Knob.KV_OFFLOADING_GIB: "TGI has no host tier for its KV cache",
        Knob.BLOCK_SIZE: "TGI's block size follows from its attention backend",
        Knob.LONG_PREFILL_TOKEN_THRESHOLD: "TGI bounds prefill by max_num_batched_tokens alone",
        Knob.MIXED_CHUNK: "TGI mixes prefill and decode whenever it chunks",
        Knob.SCHEDULE_CONSERVATIVENESS: "TGI reserves every token ahead",
        Knob.MAX_QUEUED_REQUESTS: "TGI limits its queue with max_concurrent_requests",
    }
)

COMMAND_LINE = CommandLine(prefixes=False, underscores=False)


def _whole_prompts_fit_a_step(config: EffectiveConfig, _: frozenset[Knob]) -> str | None:
    """The launcher wants the longest *input* to fit, which it derives from the total; one token less at most."""
    tokens, longest = config.number(Knob.MAX_NUM_BATCHED_TOKENS), config.number(Knob.MAX_MODEL_LEN)
    if config.value(Knob.CHUNKED_PREFILL) is not False or tokens is None or longest is None or tokens >= longest - 1:
        return None
    return (
        f"without prefill chunking max_num_batched_tokens ({tokens:.0f}) must not be below the longest input "
        f"(up to {longest - 1:.0f})"
    )


RULES = (
    Rule(frozenset({Knob.MAX_NUM_BATCHED_TOKENS, Knob.MAX_MODEL_LEN, Knob.CHUNKED_PREFILL}), _whole_prompts_fit_a_step),
)
