"""Windows → findings: one detector per cause, ranked; SLO status; the health score."""

from perfagent.analysis.diagnose import DETECTORS, diagnose
from perfagent.analysis.fleet import of_service
from perfagent.analysis.slo import check_objective, error_rate, needed, slo_status

__all__ = ["DETECTORS", "check_objective", "diagnose", "error_rate", "needed", "of_service", "slo_status"]
