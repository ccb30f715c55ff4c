"""TGI's metrics, 1.4 to 3.3.7 (the last release; unchanged over that span).

Sources: `router/src/server.rs`, `router/src/infer/mod.rs`, `backends/v3/src/backend.rs`. Counters have no `_total`;
every series appears at its first use, so a fresh server answers with an empty page.
"""

from collections.abc import Mapping
from types import MappingProxyType

from perfagent.domain.metric import Metric
from perfagent.engines.spec import Source, histogram, value

METRICS: Mapping[Metric, tuple[Source, ...]] = MappingProxyType(
    {
        Metric.RUNNING: (value("tgi_batch_current_size"),),
        Metric.WAITING: (value("tgi_queue_size"),),
        # prompts and all tokens that may yet be generated
        Metric.KV_RESERVED: (value("tgi_batch_current_max_tokens"),),
        # counted when a request is validated
        Metric.PROMPT_TOKENS: (value("tgi_request_input_length_sum"),),
        # moves only when a request succeeds
        Metric.GENERATION_TOKENS: (value("tgi_request_generated_tokens_sum"),),
        Metric.PROMPT_LENGTH: (histogram("tgi_request_input_length"),),
        Metric.GENERATION_LENGTH: (histogram("tgi_request_generated_tokens"),),
        # per decode step, whoever is in the batch; with speculation a step yields more than one token
        Metric.ITL: (histogram("tgi_batch_inference_duration", method="decode"),),
        # inference ÷ tokens, prefill included: an upper bound
        Metric.TPOT: (histogram("tgi_request_mean_time_per_token_duration"),),
        Metric.E2E: (histogram("tgi_request_duration"),),
        Metric.QUEUE_TIME: (histogram("tgi_request_queue_duration"),),
        # with chunking, what is decoding takes part in the steps that read prompts
        Metric.PREFILL_STEPS: (value("tgi_batch_inference_duration_count", method="prefill"),),
        Metric.DECODE_STEPS: (value("tgi_batch_inference_duration_count", method="decode"),),
        # per prefill batch; a chunked prompt needs several
        Metric.PREFILL_TIME: (histogram("tgi_batch_inference_duration", method="prefill"),),
        Metric.FINISHED: (value("tgi_request_success"),),
        Metric.FAILED: (
            value("tgi_request_failure", err="validation|incomplete|template|generation", zero_if="tgi_request_count"),
        ),
        # HTTP 429 beyond --max-concurrent-requests
        Metric.REJECTED: (value("tgi_request_failure", err="overloaded", zero_if="tgi_request_count"),),
        # the client went away
        Metric.ABORTED: (value("tgi_request_failure", err="dropped", zero_if="tgi_request_count"),),
    }
)

_SPECULATION = "TGI has no counters of speculation, only a summary of the extra tokens per step"

GAPS: Mapping[Metric, str] = MappingProxyType(
    {
        Metric.WAITING_CAPACITY: "TGI does not tell why requests wait",
        Metric.WAITING_DEFERRED: "TGI does not tell why requests wait",
        Metric.KV_USAGE: "TGI reserves ahead and exports no KV cache usage, only the tokens reserved",
        Metric.KV_CAPACITY: "TGI writes its token budget only to the log (Setting max batch total tokens to N)",
        Metric.PREEMPTIONS: "TGI reserves ahead and never preempts",
        Metric.PROMPT_TOKENS_COMPUTED: "TGI does not tell which prompt tokens came from its cache",
        Metric.PREFIX_QUERIES: "TGI exports nothing about its prefix cache",
        Metric.PREFIX_HITS: "TGI exports nothing about its prefix cache",
        Metric.STEP_TOKENS: "TGI does not export how many tokens its steps hold",
        Metric.TTFT: "TGI exports no time to first token",
        Metric.FRONT_END_CPU: "TGI does not tell the processor time of its router",
        Metric.IDLE_TIME: "TGI does not tell how long it had nothing to do",
        Metric.DECODE_TIME: "TGI has no per-request decode time",
        Metric.DRAFT_TOKENS: _SPECULATION,
        Metric.ACCEPTED_TOKENS: _SPECULATION,
    }
)

SOMETIMES: Mapping[Metric, str] = MappingProxyType(
    dict.fromkeys(METRICS, "absent until its first use; a fresh server answers with an empty page")
)
