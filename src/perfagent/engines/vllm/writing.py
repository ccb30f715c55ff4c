"""How vLLM 0.8.5 to 0.33 write their pages: names, labels and bucket edges.

Sources: `vllm/v1/metrics/loggers.py`, `vllm/v1/metrics/buckets.py`; deprecated names are on the wire until the release
that hides them. `--custom-histogram-buckets` (0.32) may replace any edges, so readers never rely on these.
"""

from perfagent.domain.metric import Metric
from perfagent.engines.spec import Writing, Written
from perfagent.engines.vllm.metrics import CONFIG

_TTFT: tuple[float, ...] = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_TTFT += (20.0, 40.0, 80.0, 160.0, 640.0, 2560.0)
_ITL: tuple[float, ...] = (
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
    80.0,
)
_PHASE: tuple[float, ...] = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)
_PHASE += (120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0)
_STEP = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)


def decades(longest: int) -> tuple[float, ...]:
    """1, 2, 5, 10, 20, 50 … up to the longest request."""
    edges: list[float] = []
    scale = 1
    while scale <= longest:
        edges += [float(step * scale) for step in (1, 2, 5) if step * scale <= longest]
        scale *= 10
    return tuple(edges)


_LABELS_0_10 = (
    "block_size",
    "cache_dtype",
    "enable_prefix_caching",
    "gpu_memory_utilization",
    "num_gpu_blocks",
    "num_gpu_blocks_override",
)

WRITING = Writing(
    since="0.8.5",
    lazy=False,
    groups={
        "engine": ((None, (("engine", "{rank}"), ("model_name", "{model}"))),),
        "server": ((None, (("model_name", "{model}"),)),),
        "info": ((None, (("engine", "{rank}"),)),),
        "http": ((None, (("handler", "/v1/completions"), ("method", "POST"))),),
    },
    # 0.26 is the oldest page at hand that says its capacity in tokens
    info=(
        CONFIG,
        (
            ("0.26", (*_LABELS_0_10, "kv_cache_memory_bytes", "kv_cache_size_tokens", "kv_offloading_size")),
            (None, _LABELS_0_10),
        ),
    ),
    families=(
        Written(Metric.RUNNING, "vllm:num_requests_running", "engine"),
        Written(Metric.WAITING, "vllm:num_requests_waiting", "engine"),
        Written(
            Metric.WAITING_CAPACITY,
            "vllm:num_requests_waiting_by_reason",
            "engine",
            (("reason", "capacity"),),
            since="0.20",
        ),
        Written(
            Metric.WAITING_DEFERRED,
            "vllm:num_requests_waiting_by_reason",
            "engine",
            (("reason", "deferred"),),
            since="0.20",
        ),
        Written(Metric.KV_USAGE, "vllm:kv_cache_usage_perc", "engine", since="0.9.2"),
        Written(Metric.KV_USAGE, "vllm:gpu_cache_usage_perc", "engine", until="0.10"),
        Written(Metric.PREEMPTIONS, "vllm:num_preemptions_total", "engine"),
        Written(Metric.PROMPT_TOKENS, "vllm:prompt_tokens_total", "engine"),
        Written(
            Metric.PROMPT_TOKENS_COMPUTED,
            "vllm:prompt_tokens_by_source_total",
            "engine",
            (("source", "local_compute"),),
            since="0.16",
        ),
        Written(Metric.GENERATION_TOKENS, "vllm:generation_tokens_total", "engine"),
        Written(Metric.PREFIX_QUERIES, "vllm:prefix_cache_queries_total", "engine", since="0.9.2"),
        Written(Metric.PREFIX_QUERIES, "vllm:gpu_prefix_cache_queries_total", "engine", until="0.10"),
        Written(Metric.PREFIX_HITS, "vllm:prefix_cache_hits_total", "engine", since="0.9.2"),
        Written(Metric.PREFIX_HITS, "vllm:gpu_prefix_cache_hits_total", "engine", until="0.10"),
        Written(Metric.STEP_TOKENS, "vllm:iteration_tokens_total", "engine", edges=((None, _STEP),)),
        Written(Metric.PROMPT_LENGTH, "vllm:request_prompt_tokens", "engine", edges=((None, decades),)),
        Written(Metric.GENERATION_LENGTH, "vllm:request_generation_tokens", "engine", edges=((None, decades),)),
        Written(Metric.TTFT, "vllm:time_to_first_token_seconds", "engine", edges=((None, _TTFT),)),
        Written(Metric.ITL, "vllm:inter_token_latency_seconds", "engine", since="0.10.2", edges=((None, _ITL),)),
        Written(Metric.ITL, "vllm:time_per_output_token_seconds", "engine", until="0.11", edges=((None, _ITL),)),
        Written(
            Metric.TPOT,
            "vllm:request_time_per_output_token_seconds",
            "engine",
            since="0.11.0",
            edges=((None, _ITL),),
        ),
        Written(Metric.E2E, "vllm:e2e_request_latency_seconds", "engine", edges=((None, _PHASE),)),
        Written(Metric.QUEUE_TIME, "vllm:request_queue_time_seconds", "engine", edges=((None, _PHASE),)),
        Written(Metric.PREFILL_TIME, "vllm:request_prefill_time_seconds", "engine", edges=((None, _PHASE),)),
        Written(Metric.DECODE_TIME, "vllm:request_decode_time_seconds", "engine", edges=((None, _PHASE),)),
        Written(Metric.FINISHED, "vllm:request_success_total", "engine", (("finished_reason", "length"),)),
        Written(Metric.ABORTED, "vllm:request_success_total", "engine", (("finished_reason", "abort"),)),
        Written(Metric.FAILED, "vllm:request_success_total", "engine", (("finished_reason", "error"),), since="0.13"),
        Written(Metric.FAILED, "http_requests_total", "http", (("status", "5xx"),), until="0.12"),
        Written(
            Metric.REJECTED,
            "vllm:admission_rejections_total",
            "server",
            (("reason", "max_num_queued_reqs"),),
            since="0.32",
        ),
    ),
)
