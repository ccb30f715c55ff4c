"""`batch_limit`: requests wait although the KV cache has room, because no more may run at once.

Where nobody told the limit it is inferred from a running count that stands still under a queue. An engine that reads
prompts all the time admits at an even pace and shows a fairly still count too, so inference asks that it mostly
decodes, or that the count is the very same at nearly every one of many scrapes.
"""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.overload import hardware_is_full
from perfagent.analysis.prefill_budget import reads_in_pieces
from perfagent.analysis.severity import of_wait
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Symptom
from perfagent.domain.metric import Metric


def batch_limit(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """A queue while running sits at the limit on running requests and the KV cache has room."""
    share, running, peak = signals.standing_share, signals.running_queueing, signals.running_peak
    if share is None or share < limits.queueing_share or running is None or not peak:
        return None
    kv, wait_share = signals.kv_queueing, signals.wait_share
    if hardware_is_full(signals, limits) or reads_in_pieces(signals, limits):
        return None
    if (kv is not None and kv >= limits.kv_full) or (wait_share is not None and wait_share < limits.wait_share):
        return None
    told = signals.seats
    if told is None and not _may_infer(signals, limits):
        return None
    cap = peak if told is None else told
    if peak > cap or not signals.may_be_at_limit(limits.queueing_share):
        return None
    room = "KV usage is not exported" if kv is None else f"the KV cache is {kv:.0%} full"
    known = "" if told is not None else " (inferred: running never exceeds it while others wait)"
    evidence = [
        Evidence(
            Metric.RUNNING, "mean while others wait", running, cap, "running well below the limit while others wait"
        ),
        Evidence(Metric.WAITING, "mean while busy", signals.waiting_mean or 0.0, 1.0, "nobody waiting at most scrapes"),
    ]
    if kv is not None:
        evidence.append(
            Evidence(Metric.KV_USAGE, "mean while others wait", kv, limits.kv_full, "KV usage near 1 or preemptions")
        )
    certain = (1.0 if told is not None else 0.7) * (1.0 if kv is not None and kv < limits.kv_room else 0.7)
    return Finding(
        Cause.BATCH_LIMIT,
        Symptom.QUEUE_BUILDUP,
        of_wait(wait_share),
        round(signals.certainty * certain, 2),
        signals.window.target,
        f"{signals.waiting_mean or 0:.0f} requests wait while {running:.1f} run "
        f"at the limit of {cap:.0f}{known}; {room}.",
        tuple(evidence),
    )


def _may_infer(signals: Signals, limits: Limits) -> bool:
    """Many scrapes, room in the cache for one more, and a count that nothing but a limit keeps so still."""
    read, scrapes = signals.prompts_read, len(signals.queueing)
    decoding = read is not None and read < limits.reading_share and scrapes >= limits.least_points
    still = signals.stands_still(limits.still_share) and scrapes >= limits.still_scrapes
    return signals.ranks == 1 and _has_room(signals, limits) and (decoding or still)


def _has_room(signals: Signals, limits: Limits) -> bool:
    """By its usage; where only reservations are told, by their changing although the count does not."""
    kv, with_next = signals.kv_queueing, signals.kv_with_next
    if kv is None or with_next is None:
        reserved = signals.reserved_queueing
        return reserved is not None and reserved < limits.still_share and signals.stands_still(limits.still_share)
    return kv < limits.kv_room and with_next < limits.kv_full
