"""`host_bound`: the processor beside the accelerator holds things up, not the engine's limits.

Two things show it. The process that takes requests in, tokenizes and streams does so in one event loop: at a whole core
it can hardly do more, though threads beside it count too. And steps that become slow while few requests run, with no
more to compute than before, are slowed by something that no metric of the engine names, such as another program on its
cores.
"""

from statistics import median

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.signals import Signals
from perfagent.analysis.steps import prompt_tokens_computed
from perfagent.domain.finding import Cause, Evidence, Finding, Severity, Symptom
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, mean_level, observed


def host_bound(signals: Signals, limits: Limits = LIMITS) -> Finding | None:
    """The front end is at the end of its core, or steps slowed down although nothing grew."""
    return _front_end(signals, limits) or _slowed_down(signals, limits)


def _front_end(signals: Signals, limits: Limits) -> Finding | None:
    cores = signals.busy_rate(Metric.FRONT_END_CPU)
    if cores is None or cores < limits.whole_core:
        return None
    return Finding(
        Cause.HOST_BOUND,
        Symptom.HIGH_LATENCY,
        Severity.HIGH,
        round(signals.certainty * 0.6, 2),
        signals.window.target,
        f"The process that takes requests in uses {cores:.2f} cores; its event loop can use one.",
        (
            Evidence(
                Metric.FRONT_END_CPU, "processor seconds per second", cores, limits.whole_core, "a core with time left"
            ),
        ),
    )


def _slowed_down(signals: Signals, limits: Limits) -> Finding | None:
    """A moment from which on every stretch is slower than any before, by more than its larger batch can explain.

    Only stretches without a queue are compared: while requests wait, steps are full of their prompts.
    """
    if signals.evicting_share > 0 or len(signals.queueing) >= limits.queueing_share * max(1, len(signals.busy)):
        return None
    known = [stretch for stretch in map(_Stretch, signals.free_pairs) if stretch.gap_s and stretch.running]
    cuts = range(limits.least_side, len(known) - limits.least_side + 1)
    jumps = [jump for cut in cuts if (jump := _jump(known[:cut], known[cut:], limits)) is not None]
    if not jumps:
        return None
    slower, was_s, now_s, running = max(jumps)
    return Finding(
        Cause.HOST_BOUND,
        Symptom.HIGH_LATENCY,
        Severity.HIGH if slower >= 2 * limits.outlier_ratio else Severity.MEDIUM,
        round(signals.certainty * 0.6, 2),
        signals.window.target,
        f"Tokens came {1000 * was_s:.0f} ms apart and from one moment on {1000 * now_s:.0f} ms, more than the "
        f"{running:.0f} requests that run could slow one another.",
        (
            Evidence(
                Metric.ITL, "afterwards / before", now_s / was_s, limits.outlier_ratio, "a gap that stays as it was"
            ),
            Evidence(
                Metric.RUNNING, "growth of the gap / of the batch", slower, limits.growth, "a batch that grew as much"
            ),
        ),
    )


def _jump(
    before: list["_Stretch"], after: list["_Stretch"], limits: Limits
) -> tuple[float, float, float, float] | None:
    """(growth of the gap over that of the batch, gap before, gap after, running after), around one moment.

    A step of twice a large batch takes at most twice as long, and so does one with twice the prompts. Gaps that grew
    already would have grown on: contexts do.
    """
    if min(s.gap_s for s in after) < limits.growth * max(s.gap_s for s in before):
        return None
    last, first = before[-limits.least_side :], after[: limits.least_side]
    was_s, now_s = median(s.gap_s for s in last), median(s.gap_s for s in first)
    running = median(s.running for s in first)
    batch = running / median(s.running for s in last) if running >= limits.decode_batch else 1.0
    prompts = _prompts_per_s(after) / read if (read := _prompts_per_s(before)) > 0 else 1.0
    grown = last[-1].gap_s / last[0].gap_s
    trend = grown ** (limits.least_side / (limits.least_side - 1)) if grown > limits.growth else 1.0
    slower = now_s / was_s / max(1.0, batch, prompts) / trend
    if now_s < limits.outlier_ratio * was_s or slower < limits.growth:
        return None
    return slower, was_s, now_s, running


def _prompts_per_s(stretches: list["_Stretch"]) -> float:
    return sum(s.prompt_tokens for s in stretches) / sum(s.span_s for s in stretches)


class _Stretch:
    """What went on between two scrapes."""

    def __init__(self, pair: Window) -> None:
        gaps = observed(pair, Metric.ITL)
        self.gap_s = (gaps.mean if gaps is not None else None) or 0.0
        self.running = mean_level(pair, Metric.RUNNING) or 0.0
        self.prompt_tokens = prompt_tokens_computed(pair) or 0.0
        self.span_s = pair.span_s
