"""What an engine's steps hold, from what it counts."""

from collections.abc import Sequence
from statistics import median

from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, increase, observed


def step_tokens(pairs: Sequence[Window], ranks: int) -> float | None:
    """Tokens that a rank computed per step: of these stretches between scrapes the middle one's.

    Stretches are not merged: few slow steps full of prompts would vanish among the gaps of many quick ones. Not read
    from the step histogram: engines book a whole prompt in the step that finishes it.
    """
    steps = [tokens for pair in pairs if (tokens := _step_tokens(pair, ranks)) is not None]
    return median(steps) if steps else None


def _step_tokens(pair: Window, ranks: int) -> float | None:
    """By the steps of the kind that is more frequent where the engine counts them, else one step per output gap."""
    generated, prompt = increase(pair, Metric.GENERATION_TOKENS), prompt_tokens_computed(pair)
    if prompt is None or generated is None:
        return None
    counted = [steps for m in (Metric.PREFILL_STEPS, Metric.DECODE_STEPS) if (steps := increase(pair, m)) is not None]
    if counted and max(counted) > 0:
        return (prompt + generated) / max(counted)
    gaps = observed(pair, Metric.ITL)
    if gaps is None or gaps.mean is None:
        return None
    return (prompt + generated) / pair.span_s * gaps.mean / ranks


def reading_step_tokens(window: Window) -> float | None:
    """Prompt tokens per step that read any, of engines that count such steps."""
    steps, tokens = increase(window, Metric.PREFILL_STEPS), prompt_tokens_computed(window)
    return tokens / steps if steps and tokens is not None else None


def prompt_tokens_computed(window: Window) -> float | None:
    """Prompt tokens computed; all of them where nobody tells which were found in a cache."""
    computed = increase(window, Metric.PROMPT_TOKENS_COMPUTED)
    return computed if computed is not None else increase(window, Metric.PROMPT_TOKENS)
