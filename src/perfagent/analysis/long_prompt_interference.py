"""`long_prompt_interference`: answers stall whenever somebody else's long prompt is read.

Most gaps between tokens are short, and a few are so long that whoever waits for a token mostly waits in one of these:
steps that read a large piece of a prompt hold up everybody who decodes. Smaller pieces make each stall shorter; prompts
then take longer.
"""

from collections.abc import Sequence
from math import isinf

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.signals import Signals
from perfagent.domain.finding import Cause, Evidence, Finding, Severity, Symptom
from perfagent.domain.histogram import Histogram, merge
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, increase, observed


def long_prompt_interference(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """The gap that a moment of waiting falls into is far above the mean gap, and prompts are read in large pieces."""
    gaps, piece, before = observed(signals.window, Metric.ITL), _piece(signals), signals.before_first_token_share
    if gaps is None or gaps.count < limits.tokens_for_a_mean or piece is None or piece < limits.computing_tokens:
        return None
    if before is None or before >= limits.reading_share or signals.evicting_share > 0:
        return None
    others = _others(signals, piece)
    if others <= limits.reading_share:
        return None
    times, mean_s = _times(signals.busy_pairs, others), gaps.mean
    if times is None or mean_s is None or times < limits.stall_times:
        return None
    return Finding(
        Cause.LONG_PROMPT_INTERFERENCE,
        Symptom.HIGH_LATENCY,
        Severity.HIGH if times >= 2 * limits.stall_times else Severity.MEDIUM,
        round(signals.certainty * 0.7, 2),
        signals.window.target,
        f"Tokens come {1000 * mean_s:.0f} ms apart, but whoever waits for one waits in a gap of "
        f"{1000 * times * mean_s:.0f} ms on average: pieces of prompts of about {piece:.0f} tokens hold answers up.",
        (
            Evidence(
                Metric.ITL,
                "gap that a moment of waiting falls into / mean gap",
                times,
                limits.stall_times,
                "gaps that are all about as long",
            ),
            Evidence(
                Metric.PROMPT_LENGTH,
                "tokens of a prompt read in one step",
                piece,
                limits.computing_tokens,
                "short prompts, or a small budget",
            ),
        ),
    )


def _others(signals: Signals, piece: float) -> float:
    """Share of those running that decode while a piece is read, rather than being read in it themselves."""
    running, prompt = signals.running_mean or 0.0, signals.prompt_tokens_computed or 0.0
    return 1 - piece / (running * prompt) if running * prompt > piece else 0.0


def _times(pairs: Sequence[Window], others: float) -> float | None:
    """Gap that a moment of waiting falls into / mean gap: of each stretch by itself, and their mean by time.

    A server whose gaps differ from one stretch to the next is not held up by prompts within one.
    """
    known = [moments for pair in pairs if (moments := _moments(pair, others)) is not None]
    seconds = sum(total for _, total, _ in known)
    return sum(count * squares / total for count, total, squares in known) / seconds if seconds else None


def _moments(pair: Window, others: float) -> tuple[float, float, float] | None:
    """(gaps, seconds, seconds²) of one stretch, each gap taken at the middle of its bucket; None without any gap.

    Some engines' gaps are steps that only decode, and they time those that read prompts apart: these are gaps too, for
    the share of those running that waits for them.
    """
    gaps, reading = observed(pair, Metric.ITL), observed(pair, Metric.PREFILL_TIME)
    if gaps is not None and reading is not None and gaps.count == increase(pair, Metric.DECODE_STEPS):
        waited = tuple(others * count for count in reading.cumulative)
        gaps = merge([gaps, Histogram(reading.edges, waited, others * reading.total)])
    if gaps is None or not gaps.count:
        return None
    low = reached = seconds = squares = 0.0
    for edge, count in zip(gaps.edges, gaps.cumulative, strict=True):
        middle_s = low if isinf(edge) else (low + edge) / 2
        seconds += (count - reached) * middle_s
        squares += (count - reached) * middle_s**2
        low, reached = edge, count
    return (gaps.count, seconds, squares) if seconds > 0 else None


def _piece(signals: Signals) -> float | None:
    """Tokens that a step reads of a prompt: as counted, else all that the cache lacks as far as the budget allows."""
    if signals.reading_step is not None:
        return signals.reading_step
    prompt, budget = signals.prompt_tokens_computed, signals.limit(Knob.MAX_NUM_BATCHED_TOKENS)
    return prompt if prompt is None or budget is None or budget <= 0 else min(prompt, budget)
