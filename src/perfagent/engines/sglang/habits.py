"""How an SGLang server behaves, for emulation.

Sources: `python/sglang/srt/arg_groups/{memory_hook,validation_hook}.py` (defaults by GPU),
`managers/schedule_policy.py` (reservation), `model_executor/` (messages), `entrypoints/http_server.py`,
`entrypoints/v1_loads.py` (endpoints).
"""

from collections.abc import Mapping

from perfagent.domain.knob import Knob
from perfagent.domain.machine import CPU
from perfagent.domain.metric import Metric
from perfagent.engines.habits import (
    CUDA_OUT_OF_MEMORY,
    Facts,
    Habits,
    Host,
    MemoryShare,
    Moment,
    Trouble,
    Values,
    whole,
)

_GIB = 2**30
_MIB = 2**20


def _defaults(host: Host, given: Values) -> Values:
    """Chunk size by GPU memory; the static share leaves room for the chunk's activations and for graphs."""
    gib = host.memory_bytes / _GIB
    tokens = 8192 if host.gpu == CPU else 2048 if gib < 35 else 4096 if gib < 60 else 8192 if gib < 160 else 16384
    chunk = whole(given, Knob.MAX_NUM_BATCHED_TOKENS) or tokens
    graphs = 8 if gib < 20 else 48 if gib < 35 else 32 if gib < 60 else 256
    reserve = (512 + 1.5 * max(chunk, 2048) + 2 * graphs) * _MIB
    if gib > 60:
        reserve = max(reserve, 10 * _GIB)
    return {
        Knob.MAX_NUM_BATCHED_TOKENS: tokens,
        Knob.GPU_MEMORY_UTILIZATION: round(1 - reserve / host.memory_bytes, 3),
        Knob.MAX_MODEL_LEN: host.model_len,
        Knob.CHUNKED_PREFILL: True,
    }


def _seats(values: Values, kv_tokens: int, longest: int) -> int:
    """What was asked for or a guess from memory, and never more than half the KV pool's tokens."""
    guess = min(4096, max(2048, int(kv_tokens / longest * 512)))
    return max(1, min(whole(values, Knob.MAX_NUM_SEQS) or guess, kv_tokens // 2))


def _reserve_output_ratio(values: Values) -> float:
    """The scheduler starts at 0.7 × conservativeness and decays to 0.14 of that while nothing is retracted.

    The decay is not emulated: this is its floor, where a server that has run for a while stands.
    """
    conservativeness = values.get(Knob.SCHEDULE_CONSERVATIVENESS, 1.0)
    return 0.14 * min(1.0, 0.7 * float(conservativeness))


def _request_limit(values: Values) -> int | None:
    """The queue's limit counts waiting requests alone; they wait when all seats are taken."""
    queued = whole(values, Knob.MAX_QUEUED_REQUESTS)
    return None if queued is None else queued + (whole(values, Knob.MAX_NUM_SEQS) or 0)


def _info(facts: Facts) -> Mapping[str, str]:
    values = facts.values
    return {"context_len": str(values.get(Knob.MAX_MODEL_LEN)), "page_size": str(values.get(Knob.BLOCK_SIZE))}


def _answers(facts: Facts) -> Mapping[str, object]:
    values = facts.values
    caching = values.get(Knob.ENABLE_PREFIX_CACHING)
    limit = values.get(Knob.MAX_NUM_SEQS)
    return {
        "/server_info": {
            "version": facts.release,
            "model_path": facts.model,
            "max_running_requests": limit,
            "chunked_prefill_size": values.get(Knob.MAX_NUM_BATCHED_TOKENS),
            "mem_fraction_static": values.get(Knob.GPU_MEMORY_UTILIZATION),
            "kv_cache_dtype": values.get(Knob.KV_CACHE_DTYPE),
            "max_total_tokens": values.get(Knob.KV_CACHE_TOKENS),
            "max_total_num_tokens": facts.kv_tokens,
            "quantization": values.get(Knob.QUANTIZATION),
            "enable_mixed_chunk": values.get(Knob.MIXED_CHUNK),
            "disable_radix_cache": None if caching is None else not caching,
            "context_length": values.get(Knob.MAX_MODEL_LEN),
            "page_size": values.get(Knob.BLOCK_SIZE),
            "schedule_conservativeness": values.get(Knob.SCHEDULE_CONSERVATIVENESS),
            "max_queued_requests": values.get(Knob.MAX_QUEUED_REQUESTS),
            "tp_size": values.get(Knob.TENSOR_PARALLEL_SIZE),
            "internal_states": [{"effective_max_running_requests_per_dp": limit}],
        },
        "/v1/loads": {
            "version": facts.release,
            "accelerator": f"emulated {facts.host.gpu}",
            "loads": [
                {
                    "dp_rank": 0,
                    "num_running_reqs": facts.running,
                    "num_waiting_reqs": facts.waiting,
                    "max_total_num_tokens": facts.kv_tokens,
                    "max_running_requests": limit,
                    "token_usage": facts.kv_usage,
                }
            ],
        },
        "/v1/models": {
            "object": "list",
            "data": [{"id": facts.model, "object": "model", "max_model_len": values.get(Knob.MAX_MODEL_LEN)}],
        },
    }


def _tpot_s(_: float, decode_s: float, tokens: int) -> float | None:
    """Answers of one token have none."""
    return decode_s / (tokens - 1) if tokens > 1 else None


HABITS = Habits(
    mixed=lambda values: values.get(Knob.MIXED_CHUNK) is True,
    async_scheduling=lambda _, launch: "--disable-overlap-schedule" not in launch.flags,
    reserve_output_ratio=_reserve_output_ratio,
    block_size=1,
    spare_blocks=0,
    cap_counts_blocks=False,
    memory_share=MemoryShare.STATIC,
    kv_share=1.0,
    defaults=_defaults,
    seats=_seats,
    request_limit=_request_limit,
    refusal_status=503,
    invalid_status=400,
    moments={Metric.TTFT: Moment.FIRST_TOKEN, Metric.QUEUE_TIME: Moment.FIRST_TOKEN},
    tpot_s=_tpot_s,
    aborted=frozenset({Metric.ABORTED, Metric.FINISHED}),
    recompiles=frozenset(),
    metrics_flag="--enable-metrics",
    other_flags=frozenset(
        {
            "--enable-metrics",
            "--served-model-name",
            "--api-key",
            "--random-seed",
            "--dtype",
            "--decode-log-interval",
            "--schedule-policy",
            "--max-prefill-tokens",
            "--trust-remote-code",
            "--skip-server-warmup",
        }
    ),
    last_words={
        Trouble.UNKNOWN_FLAG: "launch_server.py: error: unrecognized arguments: {flag}",
        Trouble.BAD_VALUE: "launch_server.py: error: {reason}",
        Trouble.CONTRADICTION: "AssertionError: {reason}",
        Trouble.CHECKPOINT: "ValueError: Cannot find the config file for {method}",
        Trouble.DEVICES: "RuntimeError: CUDA error: invalid device ordinal (tp_size={asked}, {there} GPUs)",
        Trouble.MEMORY_SHARE: CUDA_OUT_OF_MEMORY,
        Trouble.NO_KV: "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static, now {share}",
        Trouble.KV_TOO_SMALL: (
            "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. The KV pool holds {fits} "
            "tokens, a request of the longest length takes {longest}."
        ),
        Trouble.OUT_OF_MEMORY: (
            "Exception: Capture cuda graph failed: CUDA out of memory. Tried to allocate {wanted:.2f} GiB, "
            "{free:.2f} GiB of {total:.2f} GiB is free. Possible solutions: 1. set --mem-fraction-static to a smaller "
            "value"
        ),
    },
    info=_info,
    answers=_answers,
)
