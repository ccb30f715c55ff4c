"""vLLM's metrics, 0.6.4 to 0.33.

Sources: `vllm/v1/metrics/loggers.py`, `vllm/v1/metrics/stats.py`, `docs/design/metrics.md` of the releases named;
spans come from comparing 44 releases. Label `engine` (data-parallel rank) exists since 0.8.3.
"""

from collections.abc import Mapping
from types import MappingProxyType

from perfagent.domain.metric import Metric
from perfagent.engines.spec import Form, Source, Term, histogram, value

CONFIG = "vllm:cache_config_info"


def whole(text: str | None) -> int | None:
    """A count from a label that holds Python text; None for `None`, a missing label and whatever is no count."""
    return int(text) if text is not None and text.isdecimal() and len(text) <= 18 else None


def kv_tokens(labels: Mapping[str, str]) -> float | None:
    """KV capacity of one engine in tokens.

    Recent releases say it; before, blocks × block size, which is wrong for models with several kinds of attention.
    """
    said = whole(labels.get("kv_cache_size_tokens"))
    if said is not None:
        return float(said)
    blocks, size = whole(labels.get("num_gpu_blocks")), whole(labels.get("block_size"))
    return None if blocks is None or size is None else float(blocks * size)


METRICS: Mapping[Metric, tuple[Source, ...]] = MappingProxyType(
    {
        Metric.RUNNING: (value("vllm:num_requests_running"),),
        Metric.WAITING: (value("vllm:num_requests_waiting"),),
        Metric.WAITING_CAPACITY: (value("vllm:num_requests_waiting_by_reason", reason="capacity", since="0.20"),),
        Metric.WAITING_DEFERRED: (value("vllm:num_requests_waiting_by_reason", reason="deferred", since="0.20"),),
        # the name says percent, the value runs from 0 to 1; cached blocks that nobody references count as free
        Metric.KV_USAGE: (
            value("vllm:kv_cache_usage_perc", since="0.9.2"),
            value("vllm:gpu_cache_usage_perc", until="0.11.2"),
        ),
        Metric.KV_CAPACITY: (
            Source((Term(CONFIG),), Form.LABELS, labels_value=kv_tokens, labels_kept=("engine", "model_name")),
        ),
        Metric.PREEMPTIONS: (value("vllm:num_preemptions_total"),),
        # cached tokens included
        Metric.PROMPT_TOKENS: (value("vllm:prompt_tokens_total"),),
        Metric.PROMPT_TOKENS_COMPUTED: (
            value("vllm:prompt_tokens_by_source_total", source="local_compute", since="0.16"),
        ),
        Metric.GENERATION_TOKENS: (value("vllm:generation_tokens_total"),),
        Metric.PREFIX_QUERIES: (
            value("vllm:prefix_cache_queries_total", since="0.9.2"),
            value("vllm:gpu_prefix_cache_queries_total", since="0.7.3", until="0.11.2"),
        ),
        Metric.PREFIX_HITS: (
            value("vllm:prefix_cache_hits_total", since="0.9.2"),
            value("vllm:gpu_prefix_cache_hits_total", since="0.7.3", until="0.11.2"),
        ),
        # a histogram in spite of its name
        Metric.STEP_TOKENS: (histogram("vllm:iteration_tokens_total", since="0.6.4"),),
        Metric.PROMPT_LENGTH: (histogram("vllm:request_prompt_tokens"),),
        Metric.GENERATION_LENGTH: (histogram("vllm:request_generation_tokens"),),
        Metric.TTFT: (histogram("vllm:time_to_first_token_seconds"),),
        # per output event: with speculative decoding one event may carry several tokens. The old name is the same thing
        Metric.ITL: (
            histogram("vllm:inter_token_latency_seconds", since="0.10.2"),
            histogram("vllm:time_per_output_token_seconds", until="0.14"),
        ),
        # 0 for answers of one token
        Metric.TPOT: (histogram("vllm:request_time_per_output_token_seconds", since="0.11.0"),),
        # this one and the three below are observed when a request finishes
        Metric.E2E: (histogram("vllm:e2e_request_latency_seconds"),),
        Metric.QUEUE_TIME: (histogram("vllm:request_queue_time_seconds", since="0.6.4"),),
        Metric.PREFILL_TIME: (histogram("vllm:request_prefill_time_seconds", since="0.6.4"),),
        Metric.DECODE_TIME: (histogram("vllm:request_decode_time_seconds", since="0.6.4"),),
        Metric.FINISHED: (value("vllm:request_success_total", finished_reason="stop|length"),),
        # what the engine gave up on, and what the API refused (4xx); before 0.13 errors show only as 5xx
        Metric.FAILED: (
            value(
                "vllm:request_success_total",
                Term("http_requests_total", {"handler": "/v1/.*", "status": "4xx"}),
                finished_reason="error",
                since="0.13",
            ),
            value("http_requests_total", handler="/v1/.*", status="[45]xx", zero_if="http_requests_total"),
        ),
        Metric.REJECTED: (value("vllm:admission_rejections_total", since="0.32"),),
        # by the engine (pause, sleep, shutdown); clients that go away are counted nowhere
        Metric.ABORTED: (value("vllm:request_success_total", finished_reason="abort"),),
        # of the API server alone, and only while there is one of them
        Metric.FRONT_END_CPU: (value("process_cpu_seconds_total"),),
        Metric.DRAFT_TOKENS: (value("vllm:spec_decode_num_draft_tokens_total"),),
        Metric.ACCEPTED_TOKENS: (value("vllm:spec_decode_num_accepted_tokens_total"),),
    }
)

_STEPS = "vLLM counts the steps that produced a token, not those that read prompts"

GAPS: Mapping[Metric, str] = MappingProxyType(
    {
        Metric.PREFILL_STEPS: _STEPS,
        Metric.DECODE_STEPS: _STEPS,
        Metric.KV_RESERVED: "vLLM reserves nothing ahead",
        Metric.IDLE_TIME: "vLLM does not tell how long it had nothing to do",
    }
)

SOMETIMES: Mapping[Metric, str] = MappingProxyType(
    {
        Metric.FRONT_END_CPU: "not with several API servers, nor with the Rust front end",
        Metric.DRAFT_TOKENS: "only with speculative decoding",
        Metric.ACCEPTED_TOKENS: "only with speculative decoding",
        Metric.FAILED: "before 0.13 only after the first HTTP request",
        Metric.KV_CAPACITY: "not with the Rust front end, and not for models without a KV cache",
        Metric.REJECTED: "not with the Rust front end",
    }
)
