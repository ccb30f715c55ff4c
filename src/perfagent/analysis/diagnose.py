"""One window → everything we say about it: ranked findings, blind spots, health.

A detector is a pure function of the window's signals. `DETECTORS` lists each beside the metrics it cannot do without;
one that cannot run becomes a blind spot. A cause that explains another is reported alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from perfagent.analysis.batch_limit import batch_limit
from perfagent.analysis.decode_bandwidth import decode_bandwidth
from perfagent.analysis.errors import errors
from perfagent.analysis.health import health
from perfagent.analysis.host_bound import host_bound
from perfagent.analysis.kv_capacity import kv_capacity
from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.long_prompt_interference import long_prompt_interference
from perfagent.analysis.overload import overload
from perfagent.analysis.prefill_budget import prefill_budget
from perfagent.analysis.prefix_cache import prefix_cache
from perfagent.analysis.signals import Signals
from perfagent.analysis.speculation_waste import speculation_waste
from perfagent.analysis.underused import underused
from perfagent.domain.finding import BlindSpot, Cause, Diagnosis, Finding
from perfagent.domain.knob import EffectiveConfig, Knob
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, gaps, rate, resets
from perfagent.engines import gap


@dataclass(frozen=True, slots=True)
class Detector:
    """A cause, the function that looks for it, and what it cannot do without."""

    cause: Cause
    look: Callable[[Signals], Finding | None]
    needs: tuple[Metric, ...]
    over_time: bool = False
    """True when one page, without a window, cannot show it."""
    only_if_told: bool = False
    """True when an engine that can tell these metrics shows them only where there is something to judge."""


DETECTORS = (
    Detector(Cause.KV_CAPACITY, kv_capacity, (Metric.WAITING, Metric.RUNNING)),
    Detector(Cause.BATCH_LIMIT, batch_limit, (Metric.WAITING, Metric.RUNNING)),
    Detector(Cause.PREFILL_BUDGET, prefill_budget, (Metric.WAITING, Metric.PROMPT_LENGTH), over_time=True),
    Detector(
        Cause.DECODE_BANDWIDTH, decode_bandwidth, (Metric.WAITING, Metric.RUNNING, Metric.ITL, Metric.KV_USAGE),
        over_time=True,
    ),
    Detector(
        Cause.LONG_PROMPT_INTERFERENCE, long_prompt_interference, (Metric.ITL, Metric.PROMPT_LENGTH), over_time=True,
    ),
    Detector(Cause.HOST_BOUND, host_bound, (Metric.ITL, Metric.RUNNING), over_time=True),
    Detector(
        Cause.OVERLOAD, overload, (Metric.WAITING, Metric.RUNNING, Metric.GENERATION_TOKENS),
        over_time=True,
    ),
    Detector(Cause.PREFIX_CACHE, prefix_cache, (Metric.PROMPT_TOKENS, Metric.GENERATION_TOKENS), over_time=True),
    Detector(
        Cause.SPECULATION_WASTE, speculation_waste, (Metric.DRAFT_TOKENS, Metric.ACCEPTED_TOKENS),
        over_time=True, only_if_told=True,
    ),
    Detector(Cause.UNDERUSED, underused, (Metric.RUNNING, Metric.WAITING), over_time=True),
    Detector(Cause.ERRORS, errors, (Metric.FINISHED, Metric.FAILED), over_time=True, only_if_told=True),
)  # fmt: skip

EXPLAINS: dict[Cause, frozenset[Cause]] = {
    Cause.KV_CAPACITY: frozenset({Cause.BATCH_LIMIT, Cause.PREFILL_BUDGET, Cause.DECODE_BANDWIDTH, Cause.OVERLOAD}),
    Cause.BATCH_LIMIT: frozenset({Cause.PREFILL_BUDGET, Cause.OVERLOAD}),
    Cause.PREFILL_BUDGET: frozenset({Cause.OVERLOAD}),
    Cause.PREFIX_CACHE: frozenset({Cause.LONG_PROMPT_INTERFERENCE}),
    Cause.HOST_BOUND: frozenset({Cause.DECODE_BANDWIDTH, Cause.LONG_PROMPT_INTERFERENCE}),
}
"""A cause → the ones that are only its consequences when both are seen."""


def diagnose(window: Window, config: EffectiveConfig) -> Diagnosis:
    """What is wrong with one replica in one window, worst first, and what could not be judged."""
    signals = Signals(window, config)
    seen: list[Finding] = []
    blind = _blind_to_metrics(window)
    for detector in DETECTORS:
        if detector.over_time and len(window.snapshots) < 2:
            blind.append(BlindSpot(detector.cause, "one page shows no change over time: scrape again"))
            continue
        finding = detector.look(signals)
        if finding is not None:
            seen.append(finding)
    explained = {consequence for finding in seen for consequence in EXPLAINS.get(finding.cause, ())}
    kept = [finding for finding in seen if finding.cause not in explained]
    kept.sort(key=lambda f: (f.severity.rank, f.confidence), reverse=True)
    return Diagnosis(
        target=window.target,
        basis="since_start" if window.since_start else "window",
        start_s=window.start_s,
        end_s=window.end_s,
        findings=tuple(kept),
        blind_spots=(*blind, *_blind_to_settings(signals, seen), *_unexplained(signals, seen), *_holes(window)),
        health=health(signals),
        figures=figures(signals),
    )


def figures(signals: Signals) -> dict[str, float]:
    """The window's main figures by name; what was not measured is left out."""
    window = signals.window
    known = {
        "ttft_mean_s": signals.ttft_s,
        "itl_mean_s": signals.itl_s,
        "e2e_mean_s": signals.e2e_s,
        "queue_mean_s": signals.queue_s,
        "throughput_tok_s": rate(window, Metric.GENERATION_TOKENS),
        "finished_per_s": signals.finished_per_s,
        "arrivals_per_s": signals.arrivals_per_s,
        "running_mean": signals.running_mean,
        "waiting_mean": signals.waiting_mean,
        "kv_usage_mean_ratio": signals.kv_mean,
        "preemptions_per_min": signals.preemptions_per_min,
    }
    return {name: value for name, value in known.items() if value is not None}


def _blind_to_metrics(window: Window) -> list[BlindSpot]:
    carried = {metric for snapshot in window.snapshots for metric in (*snapshot.scalars, *snapshot.histograms)}
    spots = []
    for detector in DETECTORS:
        reasons = {metric: gap(window.engine, metric) for metric in detector.needs if metric not in carried}
        if any(reason is not None or not detector.only_if_told for reason in reasons.values()):
            why = "; ".join(dict.fromkeys(reason or f"{m} was not on the page" for m, reason in reasons.items()))
            spots.append(BlindSpot(detector.cause, why))
    return spots


def _blind_to_settings(signals: Signals, seen: list[Finding]) -> list[BlindSpot]:
    found = {finding.cause for finding in seen}
    return [
        BlindSpot(cause, f"{knob} is not known: tell the server's flags, or only a clear pattern is named")
        for cause, knob in (
            (Cause.BATCH_LIMIT, Knob.MAX_NUM_SEQS),
            (Cause.PREFILL_BUDGET, Knob.MAX_NUM_BATCHED_TOKENS),
        )
        if cause not in found and signals.limit(knob) is None and knob not in signals.config.at_least
    ]


def _unexplained(signals: Signals, seen: list[Finding], limits: Limits = LIMITS) -> list[BlindSpot]:
    share, cost = signals.queue_share, signals.wait_share
    if seen or share is None or share < limits.queueing_share or (cost is not None and cost < limits.wait_share):
        return []
    standing = signals.standing_share
    if standing is not None and standing < limits.queueing_share:
        return [BlindSpot("queue", "requests wait, but the queue drains: what held it up while it grew is not judged")]
    return [BlindSpot("queue", "requests wait, and nothing that was measured proves what for")]


def _holes(window: Window) -> list[BlindSpot]:
    spots = [BlindSpot("window", f"no scrape between {a:.0f} and {b:.0f}") for a, b in gaps(window)]
    if restarted := resets(window):
        spots.append(
            BlindSpot("window", f"the server restarted {restarted} time(s); what the dead process did is lost")
        )
    return spots
