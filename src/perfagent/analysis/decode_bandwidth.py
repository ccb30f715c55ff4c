"""`decode_bandwidth`: tokens come slower the more requests run, with nobody waiting and room in the KV cache.

A decoding step reads the weights once and each request's context: ITL = base + slope × running. The line is fitted
through the stretches between scrapes; where the batch's part mostly exceeds the base, decoding is the bottleneck.
"""

from statistics import StatisticsError, correlation, linear_regression, median

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Severity, Symptom
from perfagent.domain.metric import Metric
from perfagent.domain.window import mean_level, observed


def decode_bandwidth(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """ITL follows the number of running requests and is at least twice what one request alone would see."""
    share, kv = signals.queue_share, signals.kv_mean
    if share is None or share >= limits.queueing_share or kv is None or kv >= limits.kv_full:
        return None
    prompts = signals.prompt_token_share
    if prompts is None or prompts > limits.prefill_token_share:
        return None
    line = _line(signals, limits)
    if line is None:
        return None
    base_s, heavy_s, running = line
    slower = heavy_s / base_s
    return Finding(
        Cause.DECODE_BANDWIDTH,
        Symptom.HIGH_LATENCY,
        Severity.MEDIUM if slower < 2 * limits.decode_slowdown else Severity.HIGH,
        round(signals.certainty * 0.8, 2),
        signals.window.target,
        f"The gap between tokens follows the batch: about {1000 * base_s:.1f} ms for a request alone, "
        f"{1000 * heavy_s:.1f} ms with {running:.0f} running; nobody waits and the KV cache has room.",
        (
            Evidence(
                Metric.ITL,
                "at the usual batch / for a request alone",
                slower,
                limits.decode_slowdown,
                "ITL that does not follow the number of running requests",
            ),
            Evidence(
                Metric.RUNNING,
                "median of the stretches between scrapes",
                running,
                limits.decode_batch,
                "slow tokens with few requests running: then it is not the batch",
            ),
        ),
    )


def _line(signals: Signals, limits: Limits) -> tuple[float, float, float] | None:
    """(ITL of one request alone, ITL at the usual batch, that batch), seconds; None where ITL follows no line.

    From the usual batch down to one request the line is prolonged by no more than was seen of it.
    """
    stretches = _stretches(signals)
    if len(stretches) < limits.least_points:
        return None
    running, gaps = [r for r, _ in stretches], [gap for _, gap in stretches]
    usual, least = median(running), min(running)
    if usual < limits.decode_batch or usual - least < least - 1:
        return None
    try:
        follows = correlation(running, gaps)
    except StatisticsError:
        return None
    slope, intercept = linear_regression(running, gaps)
    base_s, heavy_s = intercept + slope, intercept + slope * usual
    if follows < limits.decode_correlation or base_s <= 0 or heavy_s < limits.decode_slowdown * base_s:
        return None
    return base_s, heavy_s, usual


def _stretches(signals: Signals) -> list[tuple[float, float]]:
    """(running, ITL in seconds) of each stretch between neighbouring scrapes that decoded with nobody waiting.

    While requests wait, steps also read their prompts, as many as the batch has seats for.
    """
    found = []
    for pair in signals.free_pairs:
        gaps, running = observed(pair, Metric.ITL), mean_level(pair, Metric.RUNNING)
        if gaps is not None and gaps.mean and running:
            found.append((running, gaps.mean))
    return found
