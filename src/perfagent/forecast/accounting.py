"""Where a replica's time went, scrape by scrape, from its metrics: the rows that the step time is fitted to.

What engines book when a prompt is complete, and what no counter tells (recomputation after a preemption, the context
that steps read), is estimated here and named.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import exp

from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, gaps, increase, levels, observed, resets
from perfagent.twin.interval import IDLE_SHARE, Interval
from perfagent.twin.rules import SchedulerRules

RECOMPUTED = 0.4
"""Of its mean context a preempted request computes again: part of its blocks is usually found in the prefix cache."""


def accounts(window: Window, rules: SchedulerRules, pairs_per_token: float) -> list[Interval]:
    """A row for every two neighbouring scrapes of one process between which none is missing.

    `pairs_per_token` is how many query-key pairs a mean computed prompt token stands for. A stretch whose metrics do
    not tell what was computed has no row.
    """
    missing = set(gaps(window))
    rows = []
    for a, b in pairwise(window.snapshots):
        stretch = Window((a, b))
        if (a.at_s, b.at_s) in missing or resets(stretch):
            continue
        row = _row(stretch, rules, pairs_per_token)
        if row is not None:
            rows.append(row)
    return rows


def _row(stretch: Window, rules: SchedulerRules, pairs_per_token: float) -> Interval | None:
    generated, prompt_tokens = increase(stretch, Metric.GENERATION_TOKENS), computed(stretch)
    running, waiting = (_ends(stretch, metric) for metric in (Metric.RUNNING, Metric.WAITING))
    prompts = _prompts(stretch, running)
    if generated is None or prompt_tokens is None or not running or prompts is None:
        return None
    counted = [increase(stretch, metric) for metric in (Metric.PREFILL_STEPS, Metric.DECODE_STEPS)]
    decode_tokens = max(generated - prompts, 0.0)
    usual = _mean(running)
    prefill_steps, steps = _steps(stretch, rules, counted, prompts, prompt_tokens)
    if steps is None:
        return None
    decode_steps = steps if rules.mixed else max(steps - prefill_steps, 0.0)
    decoding = decode_tokens / decode_steps if decode_steps else 0.0
    context = _context(stretch, rules, max(usual, 1.0))
    if context is None:
        return None
    held = context * min(1.0, decoding / max(usual, 1.0)) if rules.mixed else context
    prompt_tokens += RECOMPUTED * (increase(stretch, Metric.PREEMPTIONS) or 0.0) * held / max(decoding, 1.0)
    pieces = prompt_tokens / max(prompts, 1.0) / rules.max_num_batched_tokens
    prefix = (increase(stretch, Metric.PREFIX_HITS) or 0.0) + prompt_tokens * max(pieces - 1, 0.0) / 2
    timed = observed(stretch, Metric.PREFILL_TIME)
    one_step = not rules.async_scheduling and 2 * pieces <= 1
    return Interval(
        seconds=stretch.span_s,
        steps=steps,
        decode_tokens=decode_tokens,
        prompts=prompts,
        prompt_tokens=prompt_tokens,
        prefill_steps=prefill_steps,
        context_tokens=held * decode_steps + prefix,
        prefix_tokens=prefix,
        pairs=prompt_tokens * pairs_per_token,
        timed_prompts=timed.count if timed is not None and one_step else 0.0,
        timed_s=timed.total if timed is not None and one_step else 0.0,
        running=min(running),
        waiting=min(waiting, default=0.0),
        idle_s=_idle_s(stretch, steps, running, waiting),
        mixed=rules.mixed,
    )


def computed(window: Window) -> float | None:
    """Prompt tokens computed: counted, or all but those found in the prefix cache, as far as that is told."""
    counted = increase(window, Metric.PROMPT_TOKENS_COMPUTED)
    if counted is not None:
        return counted
    whole, hits = increase(window, Metric.PROMPT_TOKENS), increase(window, Metric.PREFIX_HITS) or 0.0
    return None if whole is None else max(whole - hits, 0.0)


def _steps(
    stretch: Window, rules: SchedulerRules, counted: Sequence[float | None], prompts: float, prompt_tokens: float
) -> tuple[float, float | None]:
    """Steps with a piece of a prompt, and all steps; None where nothing is counted per step.

    A step that computes a piece of a prompt beside no decode produces nothing, and vLLM does not count it. Prompts
    begin in random steps, and a long one takes several.
    """
    full = prompt_tokens / rules.max_num_batched_tokens
    prefills, decodes = counted
    if prefills is not None and decodes is not None:
        return prefills, max(prefills + decodes, 1.0)
    sizes = observed(stretch, Metric.STEP_TOKENS)
    if sizes is None:
        return 0.0, None
    steps = max(sizes.count, full, 1.0)
    return max(steps * (1 - exp(-prompts / steps)), full), steps


def _context(stretch: Window, rules: SchedulerRules, running: float) -> float | None:
    """Context tokens that all running requests have behind them, from the share of the cache in use.

    Blocks are half empty at their end. Without that share, from the lengths of requests: half their answer is there.
    """
    usage = _ends(stretch, Metric.KV_USAGE)
    if usage:
        return max(_mean(usage) * rules.kv_capacity_tokens - running * (rules.block_size - 1) / 2, 0.0)
    prompt, answer = (observed(stretch, metric) for metric in (Metric.PROMPT_LENGTH, Metric.GENERATION_LENGTH))
    if prompt is None or answer is None or prompt.mean is None or answer.mean is None:
        return None
    return running * (prompt.mean + answer.mean / 2)


def _idle_s(stretch: Window, steps: float, running: Sequence[float], waiting: Sequence[float]) -> float | None:
    """Counted, or what is left beside as many steps as there were, each as long as a mean gap between tokens.

    Only where work may have run out: under load the gaps of many requests weigh long steps more.
    """
    counted = increase(stretch, Metric.IDLE_TIME)
    gaps_seen = observed(stretch, Metric.ITL)
    if counted is not None or min(waiting, default=0.0) > 0 or exp(-min(running)) <= IDLE_SHARE:
        return counted
    if gaps_seen is None or gaps_seen.mean is None:
        return None
    return max(0.0, stretch.span_s - steps * gaps_seen.mean)


def _prompts(stretch: Window, running: Sequence[float]) -> float | None:
    """Prompts completed: first tokens where they are counted, else answers completed and those still under way."""
    first = observed(stretch, Metric.TTFT)
    if first is not None:
        return first.count
    finished = increase(stretch, Metric.FINISHED)
    return None if finished is None or not running else max(finished + running[-1] - running[0], 0.0)


def _ends(stretch: Window, metric: Metric) -> list[float]:
    return [value for _, value in levels(stretch, metric)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
