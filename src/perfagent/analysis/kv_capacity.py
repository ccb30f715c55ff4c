"""`kv_capacity`: the KV cache is what keeps requests waiting, or throws running ones out.

A full cache alone is a well-packed engine, not a problem.
"""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.severity import of_wait
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Severity, Symptom
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric


def kv_capacity(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """Running requests are evicted, or others wait while the cache is full and running stays below its limit."""
    evicting, held_back = _evicting(signals, limits), _held_back(signals, limits)
    if not evicting and not held_back:
        return None
    usage = signals.kv_queueing if signals.kv_queueing is not None else signals.kv_peak
    if usage is None:
        return None
    per_min, wait_share = signals.preemptions_per_min, signals.wait_share
    full = Evidence(
        Metric.KV_USAGE, "mean while others wait", usage, limits.kv_full, "KV usage well below 1 while requests wait"
    )
    evidence = [full]
    if evicting:
        seen = per_min if per_min is not None else signals.preemptions or 0.0
        what = "evictions per busy minute" if per_min is not None else "evictions since start"
        evidence.append(Evidence(Metric.PREEMPTIONS, what, seen, limits.preemptions_per_min, "no preemptions"))
    if held_back:
        evidence.append(
            Evidence(
                Metric.WAITING, "mean while busy", signals.waiting_mean or 0.0, 1.0, "nobody waiting at most scrapes"
            )
        )
    severity = of_wait(wait_share)
    if evicting:
        severity = max(severity, Severity.HIGH, key=lambda s: s.rank)
    told = f"{usage:.0%} of the KV cache is taken while {signals.waiting_mean or 0:.0f} requests wait"
    lost = f" and {per_min:.1f} running requests a minute are evicted and recomputed" if evicting and per_min else ""
    return Finding(
        Cause.KV_CAPACITY,
        Symptom.MEMORY_PRESSURE,
        severity,
        round(signals.certainty * (0.95 if evicting else 0.85), 2),
        signals.window.target,
        f"{told}{lost}.",
        tuple(evidence),
    )


def _evicting(signals: Signals, limits: Limits) -> bool:
    peak, evicted, per_min = signals.kv_peak, signals.preemptions, signals.preemptions_per_min
    if peak is None or peak < limits.kv_full or not evicted:
        return False
    return signals.window.since_start or (per_min is not None and per_min > limits.preemptions_per_min)


def _held_back(signals: Signals, limits: Limits) -> bool:
    share, usage, running = signals.queue_share, signals.kv_queueing, signals.running_queueing
    if share is None or share < limits.queueing_share or usage is None or usage < limits.kv_full:
        return False
    cap = signals.limit(Knob.MAX_NUM_SEQS)
    return cap is None or running is None or running < cap
