"""Windows → findings: one detector per cause, ranked; SLO status; the health score."""

from perfagent.analysis.burn_rate import BURN_RULES, error_budget
from perfagent.analysis.diagnose import DETECTORS, diagnose
from perfagent.analysis.fleet import of_service
from perfagent.analysis.slo import (
    check_measurable,
    check_objective,
    error_rate,
    needed,
    service_slo_status,
    slo_status,
)

__all__ = [
    "BURN_RULES",
    "DETECTORS",
    "check_measurable",
    "check_objective",
    "diagnose",
    "error_budget",
    "error_rate",
    "needed",
    "of_service",
    "service_slo_status",
    "slo_status",
]
