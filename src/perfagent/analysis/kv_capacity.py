"""`kv_capacity`: the KV cache is what keeps requests waiting, or throws running ones out.

A full cache alone is a well-packed engine, not a problem.
"""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.overload import hardware_is_full
from perfagent.analysis.prefill_budget import reads_in_pieces
from perfagent.analysis.severity import of_wait
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Symptom
from perfagent.domain.metric import Metric


def kv_capacity(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """Running requests are evicted, or others wait while the cache is full and running stays below its limit."""
    if hardware_is_full(signals, limits) or reads_in_pieces(signals, limits):
        return None
    evicting, held_back = _evicting(signals, limits), _held_back(signals, limits)
    usage, when = (_taken(signals), "while others wait") if held_back else (signals.kv_peak, "at its peak")
    if not (evicting or held_back) or usage is None:
        return None
    per_min, waiting = signals.preemptions_per_min, signals.waiting_mean or 0.0
    costs = []
    evidence = [Evidence(Metric.KV_USAGE, when, usage, limits.kv_full, "KV usage well below 1 while requests wait")]
    told = f"{usage:.0%} of the KV cache is taken {when}"
    if held_back:
        costs.append(of_wait(signals.wait_share))
        evidence.append(Evidence(Metric.WAITING, "mean while busy", waiting, 1.0, "nobody waiting at most scrapes"))
        told = f"{usage:.0%} of the KV cache is taken while {waiting:.0f} requests wait"
    if evicting:
        costs.append(of_wait(signals.evicted_share))
        seen = per_min if per_min is not None else signals.preemptions or 0.0
        what = "evictions per busy minute" if per_min is not None else "evictions since start"
        evidence.append(Evidence(Metric.PREEMPTIONS, what, seen, limits.preemptions_per_min, "no preemptions"))
        told += f" and {seen:.1f} {'running requests a minute' if per_min is not None else 'running requests'} "
        told += "are evicted and recomputed" if per_min is not None else "were evicted and recomputed since the start"
    return Finding(
        Cause.KV_CAPACITY,
        Symptom.MEMORY_PRESSURE,
        max(costs, key=lambda severity: severity.rank),
        round(signals.certainty * (0.95 if evicting else 0.85), 2),
        signals.window.target,
        f"{told}.",
        tuple(evidence),
    )


def _evicting(signals: Signals, limits: Limits) -> bool:
    """More than now and then or in one burst that drains, and more than a negligible share of the requests."""
    peak, share, per_min = signals.kv_peak, signals.evicted_share, signals.preemptions_per_min
    if peak is None or peak < limits.kv_full or share is None or share < limits.evicted_share:
        return False
    if signals.evicting_standing_share < limits.queueing_share:
        return False
    return signals.window.since_start or (per_min is not None and per_min > limits.preemptions_per_min)


def _held_back(signals: Signals, limits: Limits) -> bool:
    """A queue that stands and costs something, while the cache is full and slots are free."""
    share, wait_share = signals.standing_share, signals.wait_share
    if share is None or share < limits.queueing_share or (wait_share is not None and wait_share < limits.wait_share):
        return False
    return _is_full(signals, limits) and not signals.at_limit(limits.queueing_share)


def _is_full(signals: Signals, limits: Limits) -> bool:
    """By its usage, or because one more request would not fit; by reservations where only these are told."""
    usage, with_next, reserved = signals.kv_queueing, signals.kv_with_next, signals.reserved_queueing
    if usage is not None and with_next is not None:
        return usage >= limits.kv_full or with_next >= limits.kv_full
    full = reserved is not None and reserved >= limits.kv_full
    return full and not signals.may_be_at_limit(limits.queueing_share)


def _taken(signals: Signals) -> float | None:
    """Share of the cache that is spoken for while requests wait."""
    return signals.reserved_queueing if signals.kv_queueing is None else signals.kv_queueing
