"""Objectives that a user sets, and how a window stands to them."""

from dataclasses import dataclass
from enum import StrEnum


class Comparison(StrEnum):
    """On which side of the target a value complies."""

    LESS_THAN = "less_than"
    GREATER_THAN = "greater_than"


class Statistic(StrEnum):
    """Which figure of a distribution is meant."""

    MEAN = "mean"
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"

    @property
    def q(self) -> float | None:
        """The quantile meant, or None for the mean."""
        return None if self is Statistic.MEAN else int(self[1:]) / 100


class SloMetric(StrEnum):
    """What an objective may be about. Latencies in seconds, throughput in tokens/s, rates and usage 0–1."""

    TTFT = "ttft"
    ITL = "itl"
    TPOT = "tpot"
    E2E_LATENCY = "e2e_latency"
    QUEUE_TIME = "queue_time"
    THROUGHPUT = "throughput"
    ERROR_RATE = "error_rate"
    QUEUE_SIZE = "queue_size"
    KV_CACHE_USAGE = "kv_cache_usage"


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric's statistic shall stay on one side of a target, or a share of its observations shall."""

    metric: SloMetric
    target: float
    comparison: Comparison = Comparison.LESS_THAN
    statistic: Statistic = Statistic.MEAN
    share: float | None = None
    """Of a latency's observations at least this share (0–1) shall be within the target; then no statistic is meant."""


@dataclass(frozen=True, slots=True)
class SloStatus:
    """How a window stands to an objective."""

    objective: Objective
    current: float | None
    """The statistic or, where the objective is about a share, the share within the target."""
    compliant: bool | None
    """None when it cannot be told: nothing was measured, or the quantile's bucket straddles the target."""
    reason: str
    low: float | None = None
    """Lower bound of `current` where it is an interpolated quantile."""
    high: float | None = None
    """Upper bound of `current` where it is an interpolated quantile; None also when unbounded."""
    budget_used: float | None = None
    """For a share: what missed the target / what may; above 1 the objective is not met."""
