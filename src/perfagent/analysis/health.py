"""The health score: 100 × the product of five factors, each between 0 and 1.

    responsiveness   1 up to 1 s mean TTFT, falling evenly in log time to 0.2 at 10 s and beyond (mean
                     queue time where the engine has no TTFT)
    smoothness       1 up to 0.2 s mean ITL (slower than people read), falling evenly in log time to 0.2 at 2 s
    stability        1 − 0.7 × preemptions per finished request (at most 1)
    room             1 − 0.5 × share of a request's life spent waiting for room
    success          (1 − error rate)²

Sources of the latency marks: Nielsen's response-time limits (1 s keeps the flow of thought, 10 s keeps attention) and
silent reading at about 240 words a minute, which is about 5 tokens a second. A factor that cannot be measured is left
out; a server without traffic has none of the problems and scores 100, and one that has work but gave no answer has no
score.
"""

from math import log

from perfagent.analysis.signals import Signals
from perfagent.analysis.slo import error_rate


def health(signals: Signals) -> float | None:
    """0–100, or None when the page told neither what runs nor what finished, or work got no answer in the window."""
    waited = signals.ttft_s if signals.ttft_s is not None else signals.queue_s
    if waited is None and signals.itl_s is None and (signals.busy or not signals.running):
        return None
    factors = (
        _latency(waited, good_s=1.0, bad_s=10.0),
        _latency(signals.itl_s, good_s=0.2, bad_s=2.0),
        _stability(signals),
        None if signals.wait_share is None else 1 - 0.5 * signals.wait_share,
        None if (errors := error_rate(signals.window)) is None else (1 - errors) ** 2,
    )
    score = 100.0
    for factor in factors:
        score *= 1.0 if factor is None else factor
    return round(score, 1)


def _latency(seconds: float | None, *, good_s: float, bad_s: float) -> float | None:
    if seconds is None:
        return None
    if seconds <= good_s:
        return 1.0
    return max(0.2, 1 - 0.8 * log(seconds / good_s) / log(bad_s / good_s))


def _stability(signals: Signals) -> float | None:
    return None if signals.evicted_share is None else 1 - 0.7 * min(1.0, signals.evicted_share)
