"""Objectives that a user sets, how a window stands to them, and how fast their error budgets are spent."""

from dataclasses import dataclass
from decimal import Decimal
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

    @property
    def budget(self) -> float | None:
        """Share of events (0–1) that may be bad; None for what has no error budget: means, quantiles and levels."""
        if self.share is not None:
            return float(1 - Decimal(str(self.share)))  # 0.05 of 0.95, not 0.050000000000000044
        kept_below = self.metric is SloMetric.ERROR_RATE and self.comparison is Comparison.LESS_THAN
        return self.target if kept_below and 0 < self.target < 1 else None

    @property
    def name(self) -> str:
        """Short, and another one for every other objective: `ttft<=0.5@0.95`, `itl.p95<=0.1`, `throughput>=100`."""
        statistic = "" if self.statistic is Statistic.MEAN else f".{self.statistic}"
        side = "<=" if self.comparison is Comparison.LESS_THAN else ">="
        return f"{self.metric}{statistic}{side}{self.target}" + ("" if self.share is None else f"@{self.share}")


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
    """Where there is an error budget: bad events / those that may be bad; above 1 the objective is not met."""


class AlertSeverity(StrEnum):
    """What an alert asks of people."""

    PAGE = "page"
    """Look now."""
    TICKET = "ticket"
    """Look within days."""


@dataclass(frozen=True, slots=True)
class BurnRule:
    """An error budget that burns at least so fast over both windows is worth an alert."""

    severity: AlertSeverity
    long_s: float
    """Long enough that what is spent matters."""
    short_s: float
    """Short enough that the alert ends soon after what caused it."""
    factor: float
    """Burn rate from which on it fires."""


@dataclass(frozen=True, slots=True)
class BurnRate:
    """How fast an error budget was spent over a window."""

    window_s: float
    """How far back the window is meant to go."""
    covers_s: float
    """How much of that is recorded; the figures are over this part."""
    events: float
    bad: float
    rate: float | None
    """Share of bad events / budget: 1 spends the budget evenly over its period. None where there were no events."""
    requests: float
    """Of how many requests the events are: one request has one TTFT, but many gaps between tokens."""
    edge_s: float | None = None
    """The bucket edge up to which an observed latency counts as good; None where events are not latencies."""


@dataclass(frozen=True, slots=True)
class Alert:
    """How a service stands to one rule."""

    rule: BurnRule
    long: BurnRate
    short: BurnRate
    firing: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """How fast an objective's error budget is spent."""

    objective: Objective
    budget: float | None
    """Share of events that may be bad, or None where the objective has no such budget."""
    alerts: tuple[Alert, ...]
    """One per rule; none without a budget."""
    reason: str
    """Why there is no budget, or at which bucket edge it is counted; empty where there is nothing to tell."""


def window_name(seconds: float) -> str:
    """A window as Prometheus writes it: `5m`, `6h`, `3d`."""
    for unit, unit_s in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= unit_s and seconds % unit_s == 0:
            return f"{seconds / unit_s:g}{unit}"
    return f"{seconds:g}s"
