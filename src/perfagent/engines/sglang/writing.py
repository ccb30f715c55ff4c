"""How SGLang 0.5.12 to 0.5.23 write their pages: names, labels and bucket edges.

Sources: `python/sglang/srt/observability/metrics_collector.py`, recordings of 0.5.23. `--bucket-*` may replace the
edges of TTFT, ITL and E2E, so readers never rely on these.
"""

from perfagent.domain.metric import Metric
from perfagent.engines.spec import Writing, Written

_TTFT: tuple[float, ...] = (
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1.0,
    2.0,
    4.0,
    6.0,
    8.0,
    10.0,
    20.0,
    40.0,
    60.0,
    80.0,
    100.0,
    200.0,
    400.0,
)
_E2E: tuple[float, ...] = (*_TTFT, 600.0, 1200.0, 1800.0, 2400.0)
_ITL: tuple[float, ...] = (
    0.002,
    0.004,
    0.006,
    0.008,
    0.01,
    0.015,
    0.02,
    0.025,
    0.03,
    0.035,
    0.04,
    0.06,
    0.08,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
)
_ITL += (1.0, 2.0, 4.0, 6.0, 8.0)
_QUEUE: tuple[float, ...] = (0.0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 15.0)
_QUEUE += tuple(float(edge) for edge in (*range(20, 100, 10), *range(100, 1000, 100), *range(1000, 2000, 200)))
_QUEUE += (2000.0, 2500.0, 3000.0)
_STAGE = tuple(0.001 * 1.62**n for n in range(30))
_LENGTH: tuple[float, ...] = (100.0, 300.0, 500.0, 700.0, 1000.0, 1500.0, 2000.0)
_LENGTH += tuple(float(edge) for edge in (*range(3000, 10001, 1000), *range(12500, 30001, 2500)))
_LENGTH += (35e3, 40e3, 60e3, 80e3, 100e3, 200e3, 300e3, 400e3, 600e3, 800e3, 1e6, 1.1e6)

_TOKENS = "sglang:realtime_tokens_total"
_PASSES = "sglang:cuda_graph_passes_total"
_RESPONSES = "sglang:http_responses_total"
_TOKENIZER = (("engine_type", "unified"), ("model_name", "{model}"))

WRITING = Writing(
    since="0.5.12",
    lazy=True,
    groups={
        # without data parallelism there is one rank and no dp_rank; with it, it is the only label that tells them apart
        "scheduler": (
            (
                None,
                (
                    ("dp_rank", "{rank}"),
                    ("engine_type", "unified"),
                    ("model_name", "{model}"),
                    ("moe_ep_rank", "0"),
                    ("pp_rank", "0"),
                    ("tp_rank", "0"),
                ),
            ),
        ),
        "tokenizer": ((None, _TOKENIZER),),
        "answers": (("0.5.17", (*_TOKENIZER, ("is_streaming", "true"))), (None, _TOKENIZER)),
        "http": ((None, (("endpoint", "/v1/completions"), ("method", "POST"))),),
    },
    families=(
        Written(Metric.RUNNING, "sglang:num_running_reqs", "scheduler"),
        Written(Metric.WAITING, "sglang:num_queue_reqs", "scheduler"),
        Written(Metric.KV_USAGE, "sglang:full_token_usage", "scheduler"),
        Written(Metric.KV_USAGE, "sglang:token_usage", "scheduler"),
        Written(Metric.KV_CAPACITY, "sglang:max_total_num_tokens", "scheduler"),
        Written(Metric.PREEMPTIONS, "sglang:num_retracted_requests_total", "scheduler"),
        Written(Metric.PROMPT_TOKENS, "sglang:prompt_tokens_total", "answers"),
        Written(Metric.PROMPT_TOKENS_COMPUTED, _TOKENS, "scheduler", (("mode", "prefill_compute"),)),
        Written(Metric.PREFIX_HITS, _TOKENS, "scheduler", (("mode", "prefill_cache"),)),
        Written(Metric.GENERATION_TOKENS, "sglang:generation_tokens_total", "answers"),
        # first tokens come out of prefill
        Written(Metric.GENERATION_TOKENS, _TOKENS, "scheduler", (("mode", "decode"),), less=Metric.TTFT),
        Written(Metric.PROMPT_LENGTH, "sglang:prompt_tokens_histogram", "tokenizer", edges=((None, _LENGTH),)),
        Written(Metric.GENERATION_LENGTH, "sglang:generation_tokens_histogram", "tokenizer", edges=((None, _LENGTH),)),
        Written(Metric.TTFT, "sglang:time_to_first_token_seconds", "answers", edges=((None, _TTFT),)),
        Written(Metric.ITL, "sglang:inter_token_latency_seconds", "tokenizer", edges=((None, _ITL),)),
        Written(
            Metric.TPOT,
            "sglang:request_time_per_output_token_seconds",
            "answers",
            since="0.5.22",
            edges=((None, _ITL),),
        ),
        Written(Metric.E2E, "sglang:e2e_request_latency_seconds", "answers", edges=((None, _E2E),)),
        Written(Metric.QUEUE_TIME, "sglang:queue_time_seconds", "scheduler", edges=((None, _QUEUE),)),
        Written(
            Metric.PREFILL_TIME,
            "sglang:per_stage_req_latency_seconds",
            "scheduler",
            (("stage", "prefill_forward"),),
            edges=((None, _STAGE),),
        ),
        Written(Metric.PREFILL_STEPS, _PASSES, "scheduler", (("mode", "prefill_none"),)),
        Written(Metric.DECODE_STEPS, _PASSES, "scheduler", (("mode", "decode_cuda_graph"),)),
        Written(Metric.FINISHED, "sglang:num_requests_total", "answers"),
        Written(Metric.ABORTED, "sglang:num_aborted_requests_total", "tokenizer"),
        Written(Metric.FAILED, _RESPONSES, "http", (("status_code", "500"),)),
        Written(Metric.REJECTED, _RESPONSES, "http", (("status_code", "503"),)),
    ),
)
