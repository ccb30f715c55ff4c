"""Diagnoses of several replicas → one for their service.

A cause belongs to the service when more than half of the replicas show it; what fewer show is theirs alone and is told
as a blind spot of the service's view, so that the fleet is never tuned for one odd replica. A replica that is merely
slower than its peers is a finding of its own.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, median

from perfagent.analysis.replica_outlier import replica_outliers
from perfagent.domain.errors import InvalidInput
from perfagent.domain.finding import BlindSpot, Cause, Diagnosis, Finding


def of_service(service: str, diagnoses: Sequence[Diagnosis]) -> Diagnosis:
    """One diagnosis of a whole service; figures are means per replica, health is the median replica's.

    Raises `InvalidInput` without diagnoses.
    """
    if not diagnoses:
        raise InvalidInput(f"{service} has no replica that was diagnosed")
    if len(diagnoses) == 1:
        return diagnoses[0]
    by_cause: dict[Cause, list[Finding]] = {}
    for diagnosis in diagnoses:
        for finding in diagnosis.findings:
            by_cause.setdefault(finding.cause, []).append(finding)
    shared = [_shared(found, len(diagnoses)) for found in by_cause.values() if 2 * len(found) > len(diagnoses)]
    shared += replica_outliers(diagnoses)
    shared.sort(key=lambda f: (f.severity.rank, f.confidence), reverse=True)
    odd = [
        BlindSpot(cause, f"only {', '.join(f.target for f in found)} of {len(diagnoses)} replicas")
        for cause, found in by_cause.items()
        if 2 * len(found) <= len(diagnoses)
    ]
    healths = [d.health for d in diagnoses if d.health is not None]
    return Diagnosis(
        target=service,
        basis=diagnoses[0].basis,
        start_s=min(d.start_s for d in diagnoses),
        end_s=max(d.end_s for d in diagnoses),
        findings=tuple(shared),
        blind_spots=(*dict.fromkeys(spot for d in diagnoses for spot in d.blind_spots), *odd),
        health=median(healths) if healths else None,
        figures=_mean_figures(diagnoses),
    )


def _shared(found: Sequence[Finding], replicas: int) -> Finding:
    """The replica's finding that stands in the middle, told for the service."""
    middle = sorted(found, key=lambda f: (f.severity.rank, f.confidence))[len(found) // 2]
    return replace(
        middle, description=f"{len(found)} of {replicas} replicas, for example {middle.target}: {middle.description}"
    )


def _mean_figures(diagnoses: Sequence[Diagnosis]) -> dict[str, float]:
    names = dict.fromkeys(name for d in diagnoses for name in d.figures)
    return {name: fmean(d.figures[name] for d in diagnoses if name in d.figures) for name in names}
