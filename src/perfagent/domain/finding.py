"""What is wrong with a server, with the evidence, and what could not be judged."""

from dataclasses import dataclass, field
from enum import StrEnum

from perfagent.domain.metric import Metric


class Cause(StrEnum):
    """What to do something about."""

    BATCH_LIMIT = "batch_limit"
    KV_CAPACITY = "kv_capacity"
    PREFILL_BUDGET = "prefill_budget"
    DECODE_BANDWIDTH = "decode_bandwidth"
    OVERLOAD = "overload"
    PREFIX_CACHE = "prefix_cache"
    SPECULATION_WASTE = "speculation_waste"
    ERRORS = "errors"
    REPLICA_OUTLIER = "replica_outlier"
    LONG_PROMPT_INTERFERENCE = "long_prompt_interference"
    HOST_BOUND = "host_bound"
    UNDERUSED = "underused"


class Symptom(StrEnum):
    """What callers of the first API know as a bottleneck's type."""

    HIGH_LATENCY = "high_latency"
    QUEUE_BUILDUP = "queue_buildup"
    MEMORY_PRESSURE = "memory_pressure"
    LOW_THROUGHPUT = "low_throughput"
    CACHE_INEFFICIENCY = "cache_inefficiency"
    ERROR_RATE = "error_rate"
    IDLE = "idle"


class Severity(StrEnum):
    """How much it hurts, mildest first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation that speaks for a finding."""

    metric: Metric
    what: str
    """What was computed, such as `mean over the window`."""
    value: float
    limit: float
    """What the value was held against."""
    overturned_by: str
    """The observation that would speak against the finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause on one replica, with its evidence; the first evidence is the decisive one."""

    cause: Cause
    symptom: Symptom
    severity: Severity
    confidence: float
    """0–1: lower where evidence had to be inferred for want of a metric or a setting."""
    target: str
    description: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class BlindSpot:
    """Something that could not be judged, and why."""

    subject: str
    """A cause, a metric, `window` or `queue`."""
    reason: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything the analysis says about one replica in one window."""

    target: str
    basis: str
    """`window`, or `since_start` when there was only one snapshot."""
    start_s: float
    end_s: float
    findings: tuple[Finding, ...]
    """Worst first; a consequence of a reported cause is not among them."""
    blind_spots: tuple[BlindSpot, ...]
    health: float | None
    """0–100, or None when nothing could be measured."""
    figures: dict[str, float] = field(default_factory=dict)
    """The window's main figures, for people: name → value in the name's unit."""
