"""What can be measured on an inference server, in one vocabulary for all engines.

Engines spell these differently (`engines/`); everything else speaks `Metric`. How several series of one metric
(engine ranks, models, labels that changed) become one figure belongs to the metric, so it stands here.
"""

from enum import StrEnum


class Kind(StrEnum):
    """How a metric behaves over time, and how its series combine."""

    GAUGE_SUM = "gauge, summed over series"
    GAUGE_MAX = "gauge, largest series"
    COUNTER = "counter, increases summed over series"
    HISTOGRAM = "histogram, differences merged over series"


class Metric(StrEnum):
    """One thing an engine tells. Times are seconds, ratios run from 0 to 1."""

    RUNNING = "running"
    WAITING = "waiting"
    WAITING_CAPACITY = "waiting_capacity"
    WAITING_DEFERRED = "waiting_deferred"
    KV_USAGE = "kv_usage_ratio"
    KV_CAPACITY = "kv_capacity_tokens"
    KV_RESERVED = "kv_reserved_tokens"
    PREEMPTIONS = "preemptions"

    PROMPT_TOKENS = "prompt_tokens"
    PROMPT_TOKENS_COMPUTED = "prompt_tokens_computed"
    GENERATION_TOKENS = "generation_tokens"
    PREFIX_QUERIES = "prefix_query_tokens"
    PREFIX_HITS = "prefix_hit_tokens"
    STEP_TOKENS = "step_tokens"
    PREFILL_STEPS = "prefill_steps"
    DECODE_STEPS = "decode_steps"
    PROMPT_LENGTH = "prompt_length_tokens"
    GENERATION_LENGTH = "generation_length_tokens"

    TTFT = "ttft_s"
    ITL = "itl_s"
    TPOT = "tpot_s"
    E2E = "e2e_s"
    QUEUE_TIME = "queue_time_s"
    PREFILL_TIME = "prefill_time_s"
    DECODE_TIME = "decode_time_s"

    FINISHED = "requests_finished"
    FAILED = "requests_failed"
    REJECTED = "requests_rejected"
    ABORTED = "requests_aborted"

    FRONT_END_CPU = "front_end_cpu_seconds"
    IDLE_TIME = "scheduler_idle_seconds"

    DRAFT_TOKENS = "draft_tokens"
    ACCEPTED_TOKENS = "accepted_draft_tokens"

    @property
    def kind(self) -> Kind:
        """How this metric behaves over time and over series."""
        return _KINDS[self]


_KINDS: dict[Metric, Kind] = {
    Metric.RUNNING: Kind.GAUGE_SUM,
    Metric.WAITING: Kind.GAUGE_SUM,
    Metric.WAITING_CAPACITY: Kind.GAUGE_SUM,
    Metric.WAITING_DEFERRED: Kind.GAUGE_SUM,
    Metric.KV_USAGE: Kind.GAUGE_MAX,
    Metric.KV_CAPACITY: Kind.GAUGE_SUM,
    Metric.KV_RESERVED: Kind.GAUGE_SUM,
    Metric.PREEMPTIONS: Kind.COUNTER,
    Metric.PROMPT_TOKENS: Kind.COUNTER,
    Metric.PROMPT_TOKENS_COMPUTED: Kind.COUNTER,
    Metric.GENERATION_TOKENS: Kind.COUNTER,
    Metric.PREFIX_QUERIES: Kind.COUNTER,
    Metric.PREFIX_HITS: Kind.COUNTER,
    Metric.STEP_TOKENS: Kind.HISTOGRAM,
    Metric.PREFILL_STEPS: Kind.COUNTER,
    Metric.DECODE_STEPS: Kind.COUNTER,
    Metric.PROMPT_LENGTH: Kind.HISTOGRAM,
    Metric.GENERATION_LENGTH: Kind.HISTOGRAM,
    Metric.TTFT: Kind.HISTOGRAM,
    Metric.ITL: Kind.HISTOGRAM,
    Metric.TPOT: Kind.HISTOGRAM,
    Metric.E2E: Kind.HISTOGRAM,
    Metric.QUEUE_TIME: Kind.HISTOGRAM,
    Metric.PREFILL_TIME: Kind.HISTOGRAM,
    Metric.DECODE_TIME: Kind.HISTOGRAM,
    Metric.FINISHED: Kind.COUNTER,
    Metric.FAILED: Kind.COUNTER,
    Metric.REJECTED: Kind.COUNTER,
    Metric.ABORTED: Kind.COUNTER,
    Metric.FRONT_END_CPU: Kind.COUNTER,
    Metric.IDLE_TIME: Kind.COUNTER,
    Metric.DRAFT_TOKENS: Kind.COUNTER,
    Metric.ACCEPTED_TOKENS: Kind.COUNTER,
}
