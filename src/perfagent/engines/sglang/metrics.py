"""SGLang's metrics, 0.3.6 to 0.5.23.

Sources: `python/sglang/srt/observability/metrics_collector.py` and `managers/tokenizer_manager.py` of the releases
named; spans come from comparing 48 releases. What its token counters mean was checked on recordings of 0.5.23:
`realtime_tokens_total{mode="decode"}` leaves out each answer's first token (it comes out of prefill), and
`prefill_effective_tokens_total{mode="input"}` leaves out cache hits, whatever its name says.
"""

from collections.abc import Mapping
from types import MappingProxyType

from perfagent.domain.metric import Metric
from perfagent.engines.spec import Source, Term, histogram, value

_TOKENS = "sglang:realtime_tokens_total"
_PASSES = "sglang:cuda_graph_passes_total"
_RESPONSES = "sglang:http_responses_total"
# health checks and reading metrics also answer with status codes
_GENERATION = "/generate|/v1/(?!models|loads).*"

METRICS: Mapping[Metric, tuple[Source, ...]] = MappingProxyType(
    {
        # gauges are rewritten at each prefill, every 40 decode steps and every 30 s when idle.
        # With priority scheduling the series with an empty priority is the total
        Metric.RUNNING: (value("sglang:num_running_reqs", priority=""),),
        Metric.WAITING: (
            value("sglang:num_queue_reqs", Term("sglang:num_grammar_queue_reqs", {"priority": ""}), priority=""),
        ),
        Metric.WAITING_DEFERRED: (value("sglang:num_grammar_queue_reqs", priority="", since="0.4.6.post5"),),
        # the older name is the largest of several pools' usages
        Metric.KV_USAGE: (
            value("sglang:full_token_usage", priority="", since="0.5.10"),
            value("sglang:token_usage", priority=""),
        ),
        Metric.KV_CAPACITY: (value("sglang:max_total_num_tokens", priority="", since="0.5.6"),),
        # the gauge num_retracted_reqs is nearly always 0 when scraped
        Metric.PREEMPTIONS: (value("sglang:num_retracted_requests_total", since="0.5.7"),),
        # the older names of the two token counters move only when a request finishes
        Metric.PROMPT_TOKENS: (value(_TOKENS, mode="prefill_.*", since="0.5.7"), value("sglang:prompt_tokens_total")),
        Metric.PROMPT_TOKENS_COMPUTED: (value(_TOKENS, mode="prefill_compute", since="0.5.7"),),
        Metric.GENERATION_TOKENS: (
            value(_TOKENS, Term("sglang:time_to_first_token_seconds_count"), mode="decode", since="0.5.7"),
            value("sglang:generation_tokens_total"),
        ),
        Metric.PREFIX_QUERIES: (value(_TOKENS, mode="prefill_.*", since="0.5.7"),),
        Metric.PREFIX_HITS: (value(_TOKENS, mode="prefill_cache", since="0.5.7", zero_if=_TOKENS),),
        Metric.PROMPT_LENGTH: (histogram("sglang:prompt_tokens_histogram", since="0.4.6.post5"),),
        Metric.GENERATION_LENGTH: (histogram("sglang:generation_tokens_histogram", since="0.4.6.post5"),),
        # an answer that is not streamed reports its "first token" after 50 tokens or at its end
        Metric.TTFT: (histogram("sglang:time_to_first_token_seconds", is_streaming="true"),),
        # per token, by the front end's clock
        Metric.ITL: (
            histogram("sglang:inter_token_latency_seconds", since="0.4.4"),
            histogram("sglang:time_per_output_token_seconds", until="0.4.4"),
        ),
        Metric.TPOT: (histogram("sglang:request_time_per_output_token_seconds", is_streaming="true", since="0.5.22"),),
        Metric.E2E: (histogram("sglang:e2e_request_latency_seconds"),),
        # observed when a request is first scheduled
        Metric.QUEUE_TIME: (histogram("sglang:queue_time_seconds", since="0.5.3"),),
        Metric.PREFILL_TIME: (
            histogram("sglang:per_stage_req_latency_seconds", stage="prefill_forward", since="0.5.3"),
        ),
        Metric.PREFILL_STEPS: (value(_PASSES, mode="prefill_.*", since="0.5.7"),),
        Metric.DECODE_STEPS: (value(_PASSES, mode="decode_.*", since="0.5.7"),),
        # aborted ones are among them, and there are no finish reasons to tell them apart
        Metric.FINISHED: (value("sglang:num_requests_total", since="0.4.1.post7"),),
        # 499: the client went away; 503: the queue is full or the server paused
        Metric.FAILED: (
            value(
                _RESPONSES,
                endpoint=_GENERATION,
                status_code="4(?!99)..|5(?!03)..",
                since="0.5.7",
                zero_if=_RESPONSES,
            ),
        ),
        Metric.REJECTED: (
            value(_RESPONSES, endpoint=_GENERATION, status_code="503", since="0.5.7", zero_if=_RESPONSES),
        ),
        Metric.ABORTED: (value("sglang:num_aborted_requests_total", since="0.4.7"),),
        Metric.FRONT_END_CPU: (value("sglang:process_cpu_seconds_total", component="tokenizer", since="0.5.8"),),
        # neither running nor queued work
        Metric.IDLE_TIME: (value("sglang:scheduler_idle_seconds_total", since="0.5.20"),),
    }
)

_SPECULATION = "SGLang exports only the last interval's acceptance, no counters of drafted and accepted tokens"

GAPS: Mapping[Metric, str] = MappingProxyType(
    {
        Metric.WAITING_CAPACITY: "SGLang does not tell why requests wait, except for those that wait for a grammar",
        Metric.STEP_TOKENS: "SGLang does not export how many tokens its steps hold",
        Metric.KV_RESERVED: "SGLang exports no reserved tokens",
        Metric.DECODE_TIME: "SGLang has no per-request decode time",
        Metric.DRAFT_TOKENS: _SPECULATION,
        Metric.ACCEPTED_TOKENS: _SPECULATION,
    }
)

_FIRST = "absent until the first request"

SOMETIMES: Mapping[Metric, str] = MappingProxyType(
    {
        Metric.RUNNING: "absent until the first batch or idle report (about 30 s after start)",
        Metric.WAITING: "absent until the first batch or idle report (about 30 s after start)",
        Metric.WAITING_DEFERRED: "absent until the first batch or idle report (about 30 s after start)",
        Metric.KV_USAGE: "absent until the first batch or idle report (about 30 s after start)",
        Metric.PREEMPTIONS: "absent until the first retraction",
        Metric.PROMPT_TOKENS: _FIRST,
        Metric.PROMPT_TOKENS_COMPUTED: _FIRST,
        Metric.GENERATION_TOKENS: _FIRST,
        Metric.PREFIX_QUERIES: _FIRST,
        Metric.PREFIX_HITS: _FIRST,
        Metric.PROMPT_LENGTH: "absent until the first request; up to 0.5.19 only with --collect-tokens-histogram",
        Metric.GENERATION_LENGTH: "absent until the first request; up to 0.5.19 only with --collect-tokens-histogram",
        Metric.TTFT: "absent until the first streamed answer",
        Metric.ITL: "absent until the first answer of more than one message",
        Metric.TPOT: "absent until the first streamed answer has finished",
        Metric.E2E: _FIRST,
        Metric.QUEUE_TIME: _FIRST,
        Metric.PREFILL_TIME: _FIRST,
        Metric.FINISHED: _FIRST,
        Metric.FRONT_END_CPU: "absent until the processes first look at the clock",
        Metric.IDLE_TIME: "absent until the scheduler is first idle",
        Metric.PREFILL_STEPS: _FIRST,
        Metric.DECODE_STEPS: _FIRST,
        Metric.FAILED: "absent until the first HTTP response",
        Metric.REJECTED: "absent until the first HTTP response",
        Metric.ABORTED: "absent until the first abort",
    }
)
