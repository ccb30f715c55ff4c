"""`underused`: hardly anything to do for a long time. Fewer replicas would do, or nothing is to be done at all."""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Severity, Symptom
from perfagent.domain.metric import Metric


def underused(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """Over a long window nothing to do most of the time, and nobody ever waited for room."""
    running, window = signals.running, signals.window
    if window.span_s < limits.long_s or len(running) < limits.least_points or signals.queueing:
        return None
    mean = sum(running.values()) / len(running)
    if mean >= limits.underused_running:
        return None
    return Finding(
        Cause.UNDERUSED,
        Symptom.IDLE,
        Severity.LOW,
        round(0.8 * (1 - mean / limits.underused_running), 2),
        window.target,
        f"{mean:.2f} requests run on average over {window.span_s / 60:.0f} minutes, and none ever waits.",
        (
            Evidence(
                Metric.RUNNING, "mean over the whole window", mean, limits.underused_running, "a request at most times"
            ),
        ),
    )
