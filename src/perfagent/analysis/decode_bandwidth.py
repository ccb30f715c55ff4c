"""`decode_bandwidth`: tokens come slower the more requests run, with nobody waiting and room in the KV cache.

Seen by comparing the stretches with many running requests to those with few, within one window.
"""

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Severity, Symptom
from perfagent.domain.metric import Metric
from perfagent.domain.window import increase, mean_level, observed


def decode_bandwidth(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """ITL at least doubles from the lightest to the heaviest third of the window, and running does too."""
    share, kv = signals.queue_share, signals.kv_mean
    if share is None or share >= limits.queueing_share or kv is None or kv >= limits.kv_full:
        return None
    if _prompt_share(signals) > limits.prefill_token_share:
        return None
    stretches = sorted(_stretches(signals))
    third = len(stretches) // 3
    if third < 1:
        return None
    light, heavy = _means(stretches[:third]), _means(stretches[-third:])
    slower = heavy[1] / light[1]
    if slower < limits.decode_slowdown or heavy[0] < max(limits.decode_batch, limits.decode_slowdown * light[0]):
        return None
    return Finding(
        Cause.DECODE_BANDWIDTH,
        Symptom.HIGH_LATENCY,
        Severity.MEDIUM if slower < 2 * limits.decode_slowdown else Severity.HIGH,
        round(signals.certainty * 0.8, 2),
        signals.window.target,
        f"The gap between tokens grows from {1000 * light[1]:.1f} to {1000 * heavy[1]:.1f} ms as running requests grow "
        f"from {light[0]:.0f} to {heavy[0]:.0f}; nobody waits and the KV cache has room.",
        (
            Evidence(
                Metric.ITL,
                "at large batches / at small ones",
                slower,
                limits.decode_slowdown,
                "ITL that does not follow the number of running requests",
            ),
            Evidence(
                Metric.RUNNING,
                "mean in the heaviest third",
                heavy[0],
                limits.decode_batch,
                "slow tokens with few requests running: then it is not the batch",
            ),
        ),
    )


def _stretches(signals: Signals) -> list[tuple[float, float]]:
    """(running, ITL in seconds) of each stretch between neighbouring scrapes that decoded."""
    found = []
    for pair in signals.busy_pairs:
        gaps, running = observed(pair, Metric.ITL), mean_level(pair, Metric.RUNNING)
        if gaps is not None and gaps.mean and running:
            found.append((running, gaps.mean))
    return found


def _means(stretches: list[tuple[float, float]]) -> tuple[float, float]:
    count = len(stretches)
    return sum(r for r, _ in stretches) / count, sum(i for _, i in stretches) / count


def _prompt_share(signals: Signals) -> float:
    prompt = increase(signals.window, Metric.PROMPT_TOKENS_COMPUTED)
    if prompt is None:
        prompt = increase(signals.window, Metric.PROMPT_TOKENS)
    generated = increase(signals.window, Metric.GENERATION_TOKENS)
    if prompt is None or generated is None or prompt + generated <= 0:
        return 1.0
    return prompt / (prompt + generated)
