"""What several answers show of a service: metrics, settings, findings, proposals."""

from typing import Literal

from perfagent import engines
from perfagent.api.fields import Model, finite
from perfagent.domain.finding import BlindSpot, Cause, Diagnosis, Evidence, Finding, Severity, Symptom
from perfagent.domain.histogram import Histogram, Quantile
from perfagent.domain.knob import EffectiveConfig, Knob, KnobValue, Source
from perfagent.domain.metric import Kind, Metric
from perfagent.domain.proposal import Advice, Effect, Expected, Optimizer, Proposal
from perfagent.domain.window import Window, increase, levels, mean_level, observed, rate

Basis = Literal["window", "since_start"]


def basis_of(diagnosis: Diagnosis) -> Basis:
    """What a diagnosis was read from."""
    return "since_start" if diagnosis.basis == "since_start" else "window"


class QuantileOut(Model):
    """An interpolated quantile and the bounds between which it must lie."""

    value: float
    low: float
    high: float | None
    """Null where nothing bounds it."""

    @classmethod
    def of(cls, quantile: Quantile | None) -> "QuantileOut | None":
        """A quantile as callers see it, null where nothing was observed."""
        if quantile is None:
            return None
        return cls(value=quantile.value, low=quantile.low, high=finite(quantile.high))


class GaugeOut(Model):
    """A level, its series combined."""

    kind: Literal["gauge"] = "gauge"
    value: float
    """As last seen."""
    mean: float
    """Over the scrapes."""


class CounterOut(Model):
    """What only grows, its series added up."""

    kind: Literal["counter"] = "counter"
    increase: float
    """Within the window; since the server started where there was only one scrape."""
    per_second: float | None
    """Null where there was only one scrape."""


class HistogramOut(Model):
    """A distribution, its series merged. The mean is exact."""

    kind: Literal["histogram"] = "histogram"
    count: float
    sum: float
    mean: float | None
    """Null where nothing was observed."""
    p50: QuantileOut | None
    p95: QuantileOut | None

    @classmethod
    def of(cls, histogram: Histogram) -> "HistogramOut":
        """A histogram as callers see it."""
        return cls(
            count=histogram.count,
            sum=histogram.total,
            mean=histogram.mean,
            p50=QuantileOut.of(histogram.quantile(0.5)),
            p95=QuantileOut.of(histogram.quantile(0.95)),
        )


MetricOut = GaugeOut | CounterOut | HistogramOut


def metrics_of(window: Window) -> dict[Metric, MetricOut]:
    """Everything that a window shows, by our names; what the pages did not carry is left out."""
    shown = {metric: _metric(window, metric) for metric in Metric}
    return {metric: one for metric, one in shown.items() if one is not None}


def _metric(window: Window, metric: Metric) -> MetricOut | None:
    if metric.kind is Kind.HISTOGRAM:
        seen = observed(window, metric)
        return None if seen is None else HistogramOut.of(seen)
    if metric.kind is Kind.COUNTER:
        grown = increase(window, metric)
        return None if grown is None else CounterOut(increase=grown, per_second=rate(window, metric))
    mean, points = mean_level(window, metric), levels(window, metric)
    return None if mean is None else GaugeOut(value=points[-1][1], mean=mean)


class SettingOut(Model):
    """How a knob is set, and how we know."""

    value: KnobValue
    source: Source


class EffectiveOut(Model):
    """How a server is set. A knob that cannot be known is absent."""

    version: str | None
    settings: dict[Knob, SettingOut]

    @classmethod
    def of(cls, config: EffectiveConfig) -> "EffectiveOut":
        """A configuration as callers see it."""
        settings = {
            knob: SettingOut(value=config.settings[knob].value, source=config.settings[knob].source)
            for knob in Knob
            if knob in config.settings
        }
        return cls(version=config.release, settings=settings)


def gaps_of(engine: str) -> dict[Metric, str]:
    """Metrics that no release of the engine exports, with the reason."""
    told = {metric: engines.gap(engine, metric) for metric in Metric}
    return {metric: reason for metric, reason in told.items() if reason is not None}


class EvidenceOut(Model):
    """One observation that speaks for a finding."""

    metric: Metric
    what: str
    value: float
    limit: float
    overturned_by: str
    """What would speak against the finding."""

    @classmethod
    def of(cls, evidence: Evidence) -> "EvidenceOut":
        """Evidence as callers see it."""
        return cls(
            metric=evidence.metric,
            what=evidence.what,
            value=evidence.value,
            limit=evidence.limit,
            overturned_by=evidence.overturned_by,
        )


class BottleneckOut(Model):
    """What is wrong, with the evidence; the first piece of it is the decisive one."""

    type: Symptom
    cause: Cause
    severity: Severity
    confidence: float
    """0–1: lower where evidence had to be inferred."""
    description: str
    metric_name: Metric
    current_value: float
    threshold_value: float
    recommendation: str | None
    evidence: tuple[EvidenceOut, ...]

    @classmethod
    def of(cls, finding: Finding, recommendation: str | None) -> "BottleneckOut":
        """A finding as callers see it."""
        decisive = finding.evidence[0]
        return cls(
            type=finding.symptom,
            cause=finding.cause,
            severity=finding.severity,
            confidence=finding.confidence,
            description=finding.description,
            metric_name=decisive.metric,
            current_value=decisive.value,
            threshold_value=decisive.limit,
            recommendation=recommendation,
            evidence=tuple(EvidenceOut.of(each) for each in finding.evidence),
        )


class BlindSpotOut(Model):
    """Something that could not be judged, and why."""

    subject: str
    reason: str

    @classmethod
    def of(cls, spot: BlindSpot) -> "BlindSpotOut":
        """A blind spot as callers see it."""
        return cls(subject=spot.subject, reason=spot.reason)


class ImprovementOut(Model):
    """What a change should do to one metric: new value / old value, as a range. Below 1 is less."""

    metric_name: Metric
    direction: Literal["down", "up", "either"]
    low_ratio: float
    high_ratio: float
    basis: str
    """Where the range comes from: a rule of thumb is not a prediction."""

    @classmethod
    def of(cls, effect: Effect) -> "ImprovementOut":
        """An effect as callers see it."""
        return cls(
            metric_name=effect.metric,
            direction="down" if effect.direction == "down" else "up" if effect.direction == "up" else "either",
            low_ratio=effect.low_ratio,
            high_ratio=effect.high_ratio,
            basis=effect.basis,
        )


class ExpectedOut(Model):
    """One figure after a change, as a forecast tells it."""

    value: float
    low: float
    """With `high`, the interval that holds the figure nine times out of ten."""
    high: float
    now: float | None
    """As measured; null where the engine does not tell."""
    direction_only: bool
    """So near a critical load that only the direction is told."""

    @classmethod
    def of(cls, told: Expected) -> "ExpectedOut":
        """A figure as callers see it."""
        return cls(value=told.value, low=told.low, high=told.high, now=told.now, direction_only=told.direction_only)


class OptimizationOut(Model):
    """One change that answers one finding. Each stands alone."""

    type: Optimizer
    cause: Cause
    priority: int
    """1 is first."""
    description: str
    config_changes: dict[Knob, KnobValue]
    current_values: dict[Knob, KnobValue]
    """The same knobs as they are, as far as known."""
    flags: tuple[str, ...]
    """How this engine and release spell the change."""
    estimated_improvement: ImprovementOut | None
    """The improvement that the change is made for."""
    effects: tuple[ImprovementOut, ...]
    """Everything it should do, also for the worse."""
    risks: tuple[str, ...]
    confidence: float
    needs_approval: bool
    """True for what may alter answers, and for what is not surely for the better."""
    predicted: dict[str, ExpectedOut]
    """Figures after the change by the twin; empty where only rules of thumb say what to expect."""
    chance_better: float | None
    """Share of the twin's draws in which the change is for the better."""

    @classmethod
    def of(cls, proposal: Proposal) -> "OptimizationOut":
        """A proposal as callers see it."""
        effects = tuple(ImprovementOut.of(effect) for effect in proposal.effects)
        return cls(
            type=proposal.optimizer,
            cause=proposal.cause,
            priority=proposal.priority,
            description=proposal.description,
            config_changes=dict(proposal.change),
            current_values=dict(proposal.prior),
            flags=proposal.flags,
            estimated_improvement=effects[0] if effects else None,
            effects=effects,
            risks=proposal.risks,
            confidence=proposal.confidence,
            needs_approval=proposal.needs_approval,
            predicted={name: ExpectedOut.of(told) for name, told in proposal.forecast.items()},
            chance_better=proposal.chance,
        )


class AdviceOut(Model):
    """What to do where no change of settings helps."""

    cause: Cause
    text: str

    @classmethod
    def of(cls, advice: Advice) -> "AdviceOut":
        """Advice as callers see it."""
        return cls(cause=advice.cause, text=advice.text)
