"""Quantization: weights in 8 bit, which are read faster and leave more memory to the KV cache."""

from perfagent.domain.finding import Cause
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import Effect, Optimizer
from perfagent.optimizers.draft import RULE_OF_THUMB, Case, Draft

UNQUANTISED = {"none", "None", "unquant"}


def eight_bit_weights(case: Case) -> Draft | None:
    """Answers `kv_capacity` and `decode_bandwidth`: quantise the weights while loading."""
    if case.finding.cause not in (Cause.KV_CAPACITY, Cause.DECODE_BANDWIDTH):
        return None
    kind = case.config.value(Knob.QUANTIZATION)
    if kind is not None and str(kind) not in UNQUANTISED:
        return None
    itl = Effect(
        Metric.ITL, 0.6, 1.1, f"{RULE_OF_THUMB}: half the weight bytes; up to 1.6 × throughput (vLLM's FP8 guide)"
    )
    throughput = Effect(Metric.GENERATION_TOKENS, 1.0, 1.6, itl.basis)
    ttft = Effect(Metric.TTFT, 0.3, 1.0, RULE_OF_THUMB)
    memory_bound = case.finding.cause is Cause.KV_CAPACITY
    return Draft(
        Optimizer.QUANTIZATION,
        Knob.QUANTIZATION,
        ("fp8",),
        "Load the weights in 8 bit: each step reads half the bytes, and the memory saved becomes KV cache.",
        (ttft, throughput, itl) if memory_bound else (itl, throughput),
        (
            "answers may change: compare them before going on",
            "needs a full-precision checkpoint and a GPU with 8-bit arithmetic (Ada, Hopper or later to be faster)",
        ),
        0.6 if memory_bound else 0.7,
    )
