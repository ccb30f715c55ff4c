"""KV cache: more memory for it, or smaller entries in it."""

from perfagent.domain.finding import Cause
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import Effect, Optimizer
from perfagent.optimizers.draft import RULE_OF_THUMB, Case, Draft

MEMORY_STEP = 0.03
"""Largest safe single step of the memory share. Source: catalogue of symptoms, guard rails for automatic changes."""
SAFE_SHARE = 0.95
"""Never past this share of GPU memory. Source: the same guard rails; vLLM issues 1298 and 57475."""
FULL_PRECISION = {"auto", "bfloat16", "bf16", "float16", "fp16"}
EIGHT_BIT = ("fp8", "fp8_e4m3", "fp8_e4m3fn")
"""Spellings of an 8-bit KV cache, one per engine family."""


def switch_on_prefix_cache(case: Case) -> Draft | None:
    """Answers `prefix_cache`."""
    if case.finding.cause is not Cause.PREFIX_CACHE:
        return None
    return Draft(
        Optimizer.KV_CACHE,
        Knob.ENABLE_PREFIX_CACHING,
        (True,),
        "Keep the KV cache of prompts that begin alike.",
        (
            Effect(Metric.TTFT, 0.1, 1.0, f"{RULE_OF_THUMB}: by how much of the prompts repeats"),
            Effect(Metric.GENERATION_TOKENS, 1.0, 2.0, f"{RULE_OF_THUMB}: by how much of the prompts repeats"),
        ),
        ("nothing is gained where prompts begin differently",),
        0.8,
    )


def lift_block_cap(case: Case) -> Draft | None:
    """Answers `kv_capacity` where a hard cap, meant for debugging, keeps the cache small: double it."""
    cap = case.config.number(Knob.KV_CACHE_TOKENS)
    if case.finding.cause is not Cause.KV_CAPACITY or cap is None:
        return None
    return Draft(
        Optimizer.KV_CACHE,
        Knob.KV_CACHE_TOKENS,
        (int(2 * cap),),
        f"Double the hard cap on the KV cache ({cap:.0f} → {2 * cap:.0f}), or drop it: it is meant for debugging.",
        _MORE_ROOM,
        ("the server does not start if the memory is not there",),
        0.85,
    )


def more_memory(case: Case) -> Draft | None:
    """Answers `kv_capacity`: one safe step more of the GPU's memory, where the share is known and no cap rules."""
    share = case.config.number(Knob.GPU_MEMORY_UTILIZATION)
    if (
        case.finding.cause is not Cause.KV_CAPACITY
        or share is None
        or case.config.number(Knob.KV_CACHE_TOKENS) is not None
    ):
        return None
    target = round(min(share + MEMORY_STEP, SAFE_SHARE), 3)
    if target <= share:
        return None
    return Draft(
        Optimizer.KV_CACHE,
        Knob.GPU_MEMORY_UTILIZATION,
        (target,),
        f"Give the server {target:.0%} of the GPU's memory instead of {share:.0%}; all of the difference is KV cache.",
        _MORE_ROOM,
        ("out of memory at start or under load if something else needs it",),
        0.7,
    )


def eight_bit_cache(case: Case) -> Draft | None:
    """Answers `kv_capacity`: keep the cache in 8 bit, which holds about twice the tokens."""
    kind = case.config.value(Knob.KV_CACHE_DTYPE)
    if case.finding.cause is not Cause.KV_CAPACITY or (kind is not None and str(kind) not in FULL_PRECISION):
        return None
    return Draft(
        Optimizer.KV_CACHE,
        Knob.KV_CACHE_DTYPE,
        EIGHT_BIT,
        "Keep the KV cache in 8 bit: about twice the tokens fit into the same memory.",
        (*_MORE_ROOM, Effect(Metric.ITL, 0.8, 1.8, f"{RULE_OF_THUMB}: the batch may double")),
        (
            "answers may change: compare them before going on",
            "another attention kernel may be chosen, faster or slower",
            "gaps between tokens may grow because more requests run at once",
        ),
        0.75,
    )


_MORE_ROOM = (
    Effect(Metric.TTFT, 0.2, 0.95, RULE_OF_THUMB),
    Effect(Metric.GENERATION_TOKENS, 1.0, 1.8, RULE_OF_THUMB),
    Effect(Metric.PREEMPTIONS, 0.0, 0.9, RULE_OF_THUMB),
)
