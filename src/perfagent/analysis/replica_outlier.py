"""`replica_outlier`: one replica is slower than its peers although it does no more: its machine, not its settings.

A fleet is never tuned for it. What is compared are the means of one window. A replica that delivers more is slower by
right; how many requests it runs says nothing, for those of a slow one pile up.
"""

from collections.abc import Sequence
from statistics import median

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.domain.finding import Cause, Diagnosis, Evidence, Finding, Severity, Symptom
from perfagent.domain.metric import Metric

_FIGURES = {"itl_mean_s": Metric.ITL, "ttft_mean_s": Metric.TTFT}
_WORK = "throughput_tok_s"
_MAD_TO_SD = 1.4826
"""Median absolute deviation → standard deviation of a normal distribution."""


def replica_outliers(diagnoses: Sequence[Diagnosis], limits: Limits = LIMITS) -> list[Finding]:
    """Replicas that stand out in the gap between tokens or, where that is alike, in the time to first token."""
    found: dict[str, Finding] = {}
    for name in _FIGURES:
        for one in diagnoses:
            finding = _compared(one, diagnoses, name, limits)
            if finding is not None:
                found.setdefault(one.target, finding)
    return list(found.values())


def _compared(one: Diagnosis, diagnoses: Sequence[Diagnosis], name: str, limits: Limits) -> Finding | None:
    peers = [each for each in diagnoses if each is not one and _needed(name) <= each.figures.keys()]
    if len(peers) < limits.least_peers or not _needed(name) <= one.figures.keys():
        return None
    theirs, usual = [each.figures[name] for each in peers], median(each.figures[name] for each in peers)
    delivers, they_deliver = one.figures[_WORK], median(each.figures[_WORK] for each in peers)
    spread = _MAD_TO_SD * median(abs(value - usual) for value in theirs)
    value, ratio = one.figures[name], one.figures[name] / usual if usual > 0 else 1.0
    if ratio < limits.outlier_ratio or value - usual <= limits.outlier_sds * spread:
        return None
    if delivers > limits.growth * they_deliver:
        return None
    metric = _FIGURES[name]
    return Finding(
        Cause.REPLICA_OUTLIER,
        Symptom.HIGH_LATENCY,
        Severity.HIGH if ratio >= 2 * limits.outlier_ratio else Severity.MEDIUM,
        0.8,
        one.target,
        f"{one.target} alone is slow: {metric} {1000 * value:.0f} ms, its {len(peers)} peers {1000 * usual:.0f} ms; "
        f"it delivers {delivers:.0f} tokens/s, they {they_deliver:.0f} each.",
        (
            Evidence(metric, "of the replica", value, limits.outlier_ratio * usual, "a replica as fast as its peers"),
            Evidence(
                Metric.GENERATION_TOKENS, "tokens/s of the replica", delivers, limits.growth * they_deliver,
                "a replica that does more than its peers",
            ),
        ),
    )  # fmt: skip


def _needed(name: str) -> set[str]:
    return {name, _WORK}
