"""`errors`: requests fail, or are turned away although nobody waits. Reported, never tuned.

Clients that go away are not the server's errors. Requests turned away while others wait are the queue's doing, and the
queue's cause says what to do.
"""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Severity, Symptom
from perfagent.domain.metric import Metric
from perfagent.domain.window import increase


def errors(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """More than a negligible share of the requests failed, and more than one or two of them."""
    failed, rejected, finished = (
        increase(signals.window, metric) for metric in (Metric.FAILED, Metric.REJECTED, Metric.FINISHED)
    )
    queued = signals.queue_share is not None and signals.queue_share >= limits.queueing_share
    bad = (failed or 0.0) + (0.0 if queued else rejected or 0.0)
    if finished is None or bad < limits.least_points:
        return None
    share = bad / (finished + (failed or 0.0) + (rejected or 0.0))
    if share < limits.error_share:
        return None
    metric = Metric.FAILED if (failed or 0.0) >= bad / 2 else Metric.REJECTED
    return Finding(
        Cause.ERRORS,
        Symptom.ERROR_RATE,
        _severity(share),
        round(signals.certainty, 2),
        signals.window.target,
        f"{bad:.0f} requests {'failed' if metric is Metric.FAILED else 'were turned away'}, {share:.1%} of all: "
        "the server's log says why.",
        (
            Evidence(
                metric, "share of all that ended", share, limits.error_share, "fewer than one request in a hundred"
            ),
        ),
    )


def _severity(share: float) -> Severity:
    if share >= 0.5:
        return Severity.CRITICAL
    if share >= 0.1:
        return Severity.HIGH
    return Severity.MEDIUM if share >= 0.05 else Severity.LOW
