"""How a vLLM server behaves, for emulation.

Sources: `vllm/engine/arg_utils.py` (defaults by GPU), `vllm/v1/core/kv_cache_utils.py`, `vllm/v1/worker/`
(messages), `vllm/config/scheduler.py` (`compute_hash`: what recompiles), `vllm/entrypoints/` (endpoints).
"""

from collections.abc import Mapping

from perfagent.domain.knob import Knob, KnobValue
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


def _defaults(host: Host, given: Values) -> Values:
    """By GPU memory: 160 GiB and more, 70 GiB and more (but no A100), and the rest; fewest seats on processors."""
    large = host.memory_bytes >= 70 * _GIB and not host.gpu.startswith("a100")
    tokens = 16384 if host.memory_bytes >= 160 * _GIB else 8192 if large else 2048
    seqs = 128 if host.gpu == CPU else 1024 if host.memory_bytes >= 70 * _GIB else 256
    longest = whole(given, Knob.MAX_MODEL_LEN) or host.model_len
    asked_seqs, asked_tokens = whole(given, Knob.MAX_NUM_SEQS), whole(given, Knob.MAX_NUM_BATCHED_TOKENS)
    if given.get(Knob.CHUNKED_PREFILL) is False:
        tokens = max(tokens, longest)
    return {
        Knob.MAX_NUM_SEQS: min(seqs, asked_tokens or seqs),
        Knob.MAX_NUM_BATCHED_TOKENS: min(tokens, (asked_seqs or seqs) * longest),
        Knob.MAX_MODEL_LEN: host.model_len,
        Knob.ENABLE_PREFIX_CACHING: True,
        Knob.CHUNKED_PREFILL: True,
    }


def _seats(values: Values, _: int, __: int) -> int:
    seqs = whole(values, Knob.MAX_NUM_SEQS) or 1
    return min(seqs, whole(values, Knob.MAX_ACTIVE_SEQS) or seqs)


def _info(facts: Facts) -> Mapping[str, str]:
    values = facts.values
    return {
        "block_size": _python(values.get(Knob.BLOCK_SIZE)),
        "cache_dtype": _python(values.get(Knob.KV_CACHE_DTYPE)),
        "enable_prefix_caching": _python(values.get(Knob.ENABLE_PREFIX_CACHING)),
        "gpu_memory_utilization": _python(values.get(Knob.GPU_MEMORY_UTILIZATION)),
        "kv_cache_memory_bytes": _python(values.get(Knob.KV_CACHE_MEMORY_BYTES)),
        "kv_cache_size_tokens": str(facts.kv_tokens),
        "kv_offloading_size": _python(values.get(Knob.KV_OFFLOADING_GIB)),
        "num_gpu_blocks": str(facts.kv_blocks),
        "num_gpu_blocks_override": _python(values.get(Knob.KV_CACHE_TOKENS)),
    }


def _answers(facts: Facts) -> Mapping[str, object]:
    """Scheduler settings are told in development mode only."""
    values = facts.values
    longest = values.get(Knob.MAX_MODEL_LEN)
    answers: dict[str, object] = {
        "/version": {"version": facts.release},
        "/v1/models": {
            "object": "list",
            "data": [{"id": facts.model, "object": "model", "root": facts.model, "max_model_len": longest}],
        },
    }
    if ("VLLM_SERVER_DEV_MODE", "1") in facts.launch.env:
        answers["/server_info"] = {
            "vllm_config": {
                "scheduler_config": {
                    "max_num_seqs": values.get(Knob.MAX_NUM_SEQS),
                    "max_num_batched_tokens": values.get(Knob.MAX_NUM_BATCHED_TOKENS),
                    "enable_chunked_prefill": values.get(Knob.CHUNKED_PREFILL),
                },
                "parallel_config": {"tensor_parallel_size": values.get(Knob.TENSOR_PARALLEL_SIZE)},
                "model_config": {"quantization": values.get(Knob.QUANTIZATION), "max_model_len": longest},
            }
        }
    return answers


def _python(value: KnobValue | None) -> str:
    return str(value)


def _tpot_s(_: float, decode_s: float, tokens: int) -> float:
    """0 for answers of one token."""
    return decode_s / (tokens - 1) if tokens > 1 else 0.0


HABITS = Habits(
    mixed=lambda _: True,
    async_scheduling=lambda host, launch: host.gpu != CPU and "--no-async-scheduling" not in launch.flags,
    reserve_output_ratio=lambda _: 0.0,
    block_size=16,
    spare_blocks=1,
    cap_counts_blocks=True,
    memory_share=MemoryShare.ALL,
    kv_share=1.0,
    defaults=_defaults,
    seats=_seats,
    request_limit=lambda values: whole(values, Knob.MAX_QUEUED_REQUESTS),
    refusal_status=503,
    invalid_status=400,
    moments={Metric.TTFT: Moment.FIRST_TOKEN},
    tpot_s=_tpot_s,
    aborted=frozenset(),
    recompiles=frozenset({Knob.MAX_NUM_SEQS, Knob.MAX_NUM_BATCHED_TOKENS}),
    metrics_flag=None,
    other_flags=frozenset(
        {
            "--dtype",
            "--seed",
            "--served-model-name",
            "--api-key",
            "--shutdown-timeout",
            "--stream-interval",
            "--max-cudagraph-capture-size",
            "--enforce-eager",
            "--trust-remote-code",
            "--async-scheduling",
            "--enable-server-load-tracking",
        }
    ),
    last_words={
        Trouble.UNKNOWN_FLAG: "api_server.py: error: unrecognized arguments: {flag}",
        Trouble.BAD_VALUE: "api_server.py: error: {reason}",
        Trouble.CONTRADICTION: "ValueError: {reason}",
        Trouble.CHECKPOINT: "ValueError: Cannot find the config file for {method}",
        Trouble.DEVICES: "ValueError: World size ({asked}) is larger than the number of available GPUs ({there})",
        Trouble.MEMORY_SHARE: (
            "ValueError: Free memory on device cuda:0 ({free:.2f}/{total:.2f} GiB) on startup is less than desired GPU "
            "memory utilization ({share}, {wanted:.2f} GiB). Decrease GPU memory utilization or reduce GPU memory used "
            "by other processes."
        ),
        Trouble.NO_KV: (
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
            "initializing the engine."
        ),
        Trouble.KV_TOO_SMALL: (
            "ValueError: To serve at least one request with the model's max seq len ({longest}), ({needed:.2f} GiB KV "
            "cache is needed, which is larger than the available KV cache memory ({there:.2f} GiB). Based on the "
            "available memory, the estimated maximum model length is {fits}. Try increasing `gpu_memory_utilization` "
            "or decreasing `max_model_len` when initializing the engine."
        ),
        Trouble.OUT_OF_MEMORY: CUDA_OUT_OF_MEMORY,
    },
    info=_info,
    answers=_answers,
)
