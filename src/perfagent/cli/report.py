"""What `diagnose` says, as plain data: one shape for JSON, YAML and the table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isinf, sqrt
from typing import Any

from perfagent.domain.finding import Diagnosis
from perfagent.domain.knob import EffectiveConfig
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import Advice, Effect, Expected, Proposal

_FIGURES = {
    Metric.TTFT: "ttft_mean_s",
    Metric.ITL: "itl_mean_s",
    Metric.GENERATION_TOKENS: "throughput_tok_s",
    Metric.PREEMPTIONS: "preemptions_per_min",
}
"""The figure that an effect on a metric is about."""


@dataclass(frozen=True, slots=True)
class Report:
    """One service, or one replica, as `diagnose` saw it."""

    engine: str
    config: EffectiveConfig
    diagnosis: Diagnosis
    proposals: tuple[Proposal, ...]
    advice: tuple[Advice, ...]
    replicas: tuple[Diagnosis, ...] = ()
    """Each replica on its own, where there are several."""
    basis: str = "rules of thumb"
    """Who says what to expect of the proposals."""
    notes: tuple[str, ...] = ()
    """What went wrong while reading, for people."""


def as_data(report: Report) -> dict[str, Any]:
    """The report as JSON-ready data."""
    diagnosis = report.diagnosis
    return {
        "target": diagnosis.target,
        "engine": report.engine,
        "release": report.config.release,
        "basis": diagnosis.basis,
        "window_s": round(diagnosis.end_s - diagnosis.start_s, 3),
        "health": diagnosis.health,
        "findings": [
            {
                "cause": finding.cause,
                "type": finding.symptom,
                "severity": finding.severity,
                "confidence": finding.confidence,
                "target": finding.target,
                "description": finding.description,
                "evidence": [
                    {
                        "metric": evidence.metric,
                        "what": evidence.what,
                        "value": _number(evidence.value),
                        "limit": _number(evidence.limit),
                        "overturned_by": evidence.overturned_by,
                    }
                    for evidence in finding.evidence
                ],
            }
            for finding in diagnosis.findings
        ],
        "proposals": [_proposal(proposal, diagnosis.figures) for proposal in report.proposals],
        "predicted_by": report.basis,
        "advice": [{"cause": advice.cause, "text": advice.text} for advice in report.advice],
        "blind_spots": [{"subject": spot.subject, "reason": spot.reason} for spot in diagnosis.blind_spots],
        "figures": {name: _number(value) for name, value in diagnosis.figures.items()},
        "settings": {
            knob: {"value": setting.value, "source": setting.source} for knob, setting in report.config.settings.items()
        },
        "replicas": [
            {"target": one.target, "health": one.health, "causes": [finding.cause for finding in one.findings]}
            for one in report.replicas
        ],
        "notes": list(report.notes),
    }


def _proposal(proposal: Proposal, figures: Mapping[str, float]) -> dict[str, Any]:
    told = forecast(proposal.forecast) if proposal.forecast else predicted(proposal.effects, figures)
    return {
        "optimizer": proposal.optimizer,
        "cause": proposal.cause,
        "priority": proposal.priority,
        "description": proposal.description,
        "changes": dict(proposal.change),
        "prior": dict(proposal.prior),
        "flags": list(proposal.flags),
        "predicted": told,
        "chance_better": proposal.chance,
        "risks": list(proposal.risks),
        "needs_approval": proposal.needs_approval,
        "confidence": proposal.confidence,
    }


def forecast(figures: Mapping[str, Expected]) -> dict[str, Any]:
    """What the twin expects, figure by figure."""
    return {
        name: {
            "value": _number(told.value),
            "low": _number(told.low),
            "high": _number(told.high),
            "now": None if told.now is None else _number(told.now),
            "direction": told.direction,
            "basis": "the twin, near a critical load: direction only" if told.direction_only else "the twin",
        }
        for name, told in figures.items()
    }


def predicted(effects: Sequence[Effect], figures: Mapping[str, float]) -> dict[str, Any]:
    """What the effects would make of today's figures; the middle of a range is its geometric mean."""
    told = {}
    for effect in effects:
        name = _FIGURES.get(effect.metric)
        now = None if name is None else figures.get(name)
        if name is None or now is None:
            continue
        middle = sqrt(effect.low_ratio * effect.high_ratio)
        told[name] = {
            "value": _number(now * middle),
            "low": _number(now * effect.low_ratio),
            "high": _number(now * effect.high_ratio),
            "now": _number(now),
            "direction": effect.direction,
            "basis": effect.basis,
        }
    return told


def _number(value: float) -> float | None:
    """Six significant digits; what is not finite has no place in JSON."""
    return None if value != value or isinf(value) else float(f"{value:.6g}")
