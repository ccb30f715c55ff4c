"""A verdict on what was recorded, and rehearsals: how often the judge would have been wrong on a quiet past.

In a rehearsal nobody changed anything and each replica plays the canary in turn, so every rollback is a false one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from perfagent.domain.errors import InvalidInput
from perfagent.domain.metric import Metric
from perfagent.domain.verdict import Criterion, Look, StageRule, StageVerdict
from perfagent.domain.window import Window
from perfagent.judge.compare import LEAST_WINDOWS
from perfagent.judge.criteria import SHARES
from perfagent.judge.measure import Span, logs, measure, measure_stretches
from perfagent.judge.noise import STRETCHES, quiet
from perfagent.judge.stage import Measured, decide, lost_replicas, restarted_replicas


@dataclass(frozen=True, slots=True)
class Recorded:
    """Both arms over time, and which part is what."""

    baseline: Sequence[Window]
    canary: Sequence[Window]
    past_s: Span
    """Before the change; empty (start = end) where that was not recorded."""
    observed_s: Span
    windows: int = 10
    """Parts of the observation."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One replica that was taken for a canary, and what would have been said of it."""

    target: str
    at_s: float
    verdict: StageVerdict


def exported(replicas: Sequence[Window]) -> frozenset[Metric]:
    """What every replica tells."""
    told = [
        {metric for snapshot in each.snapshots for metric in (*snapshot.scalars, *snapshot.histograms)}
        for each in replicas
    ]
    return frozenset.intersection(*map(frozenset, told)) if told else frozenset()


def judge_recorded(seen: Recorded, criteria: Sequence[Criterion], rule: StageRule, look: Look) -> StageVerdict:
    """The verdict on one observation. Without a baseline the canary's own past has to stand in.

    Raises `InvalidInput` for an observation that cannot be cut into windows.
    """
    start_s, end_s = seen.observed_s
    if end_s <= start_s or seen.windows < LEAST_WINDOWS:
        raise InvalidInput(f"an observation takes time and has at least {LEAST_WINDOWS} windows")
    width_s, stretch_s = (end_s - start_s) / seen.windows, (end_s - start_s) / STRETCHES
    spans = [(start_s + k * width_s, start_s + (k + 1) * width_s) for k in range(seen.windows)]
    metrics = [criterion.metric for criterion in criteria]
    baseline, canary = _cut(seen.baseline, (start_s, end_s)), _cut(seen.canary, (start_s, end_s))
    old, new = _cut(seen.baseline, seen.past_s), _cut(seen.canary, seen.past_s)
    before = (old, new) if seen.baseline else (new, [])
    noisy = [metric for metric in metrics if metric not in SHARES]
    measured = Measured(
        measure(baseline, canary, metrics, spans),
        measure_stretches(*before, metrics, seen.past_s[0], stretch_s),
        quiet(logs([*old, *new], noisy, seen.past_s[0], stretch_s), stretch_s),
        lost_replicas(baseline, canary, spans, [window.target for window in seen.canary]),
        restarted_replicas(baseline, canary, spans),
    )
    return decide(measured, criteria, rule=rule, paired=bool(seen.baseline), look=look)


def rehearse(
    replicas: Sequence[Window], criteria: Sequence[Criterion], *, past_s: float, observed_s: float, look: Look
) -> Iterator[Rehearsal]:
    """Every replica against all others, again and again over a past in which nothing was changed.

    Raises `InvalidInput` where there are fewer than two replicas, or too little was recorded.
    """
    first_s, last_s = max(each.start_s for each in replicas), min(each.end_s for each in replicas)
    times = int((last_s - first_s - past_s) // observed_s)
    if len(replicas) < 2 or times < 1:
        raise InvalidInput("a rehearsal takes two replicas, and recordings as long as the past and one observation")
    for turn in range(times):
        at_s = first_s + past_s + turn * observed_s
        for canary in replicas:
            others = [each for each in replicas if each is not canary]
            seen = Recorded(others, [canary], (at_s - past_s, at_s), (at_s, at_s + observed_s))
            yield Rehearsal(canary.target, at_s, judge_recorded(seen, criteria, StageRule.NO_HARM, look))


def _cut(replicas: Sequence[Window], span_s: Span) -> list[Window]:
    if span_s[0] >= span_s[1]:
        return []
    return [part for each in replicas if (part := each.between(*span_s)) is not None]
