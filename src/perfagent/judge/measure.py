"""Both arms, cut into observation windows: the raw figures that every verdict is made from.

The unit is an arm in a window, never a request: requests on one replica share its batch, its cache and its node.
A replica that restarted in a window, or was scraped too little in it, contributes nothing to that window.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from perfagent.domain.histogram import merge
from perfagent.domain.metric import Kind, Metric
from perfagent.domain.snapshot import Snapshot
from perfagent.domain.verdict import PairedWindow
from perfagent.domain.window import Window, increase, levels, observed, resets, since_restart
from perfagent.judge.compare import LEAST_OBSERVATIONS, logged
from perfagent.judge.noise import Logs

Span = tuple[float, float]
"""A stretch of time in unix seconds: start and end."""

LEAST_COVER = 0.5
"""Share of a window that a replica's scrapes must span, and share of an arm's replicas that must be seen in it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of one arm in one window."""

    value: float | None
    """Exact mean, tokens/s per replica, or share of requests; None when nothing was observed."""
    count: float
    """Observations, tokens or requests behind the value."""
    replicas: int


def measure(
    baseline: Sequence[Window], canary: Sequence[Window], metrics: Iterable[Metric], spans: Sequence[Span]
) -> tuple[PairedWindow, ...]:
    """Every metric in every window, of both arms at the same time."""
    wanted = tuple(metrics)
    arms = [(span, _cut_all(baseline, spans, span), _cut_all(canary, spans, span)) for span in spans]
    return tuple(
        _paired(span, metric, figure(old, metric, len(baseline)), figure(new, metric, len(canary)))
        for metric in wanted
        for span, old, new in arms
    )


def measure_stretches(
    baseline: Sequence[Window], canary: Sequence[Window], metrics: Iterable[Metric], start_s: float, stretch_s: float
) -> tuple[PairedWindow, ...]:
    """Every metric of both arms in each stretch from `start_s` on, of windows with about one snapshot a stretch."""
    old, new = ([_stretches(each, start_s, stretch_s) for each in arm] for arm in (baseline, canary))
    seen = sorted({place for each in (*old, *new) for place in each})
    wanted = tuple(metrics)
    return tuple(
        _paired(
            (start_s + place * stretch_s, start_s + (place + 1) * stretch_s),
            metric,
            figure([each[place] for each in old if place in each], metric, len(baseline)),
            figure([each[place] for each in new if place in each], metric, len(canary)),
        )
        for metric in wanted
        for place in seen
    )


def logs(replicas: Sequence[Window], metrics: Iterable[Metric], start_s: float, stretch_s: float) -> dict[Metric, Logs]:
    """The log of each metric by replica and stretch, of windows with about one snapshot a stretch."""
    cut = [_stretches(each, start_s, stretch_s) for each in replicas]
    width = 1 + max((place for each in cut for place in each), default=-1)
    found: dict[Metric, Logs] = {}
    for metric in metrics:
        found[metric] = np.full((len(cut), width), np.nan)
        for row, each in enumerate(cut):
            for place, window in each.items():
                seen = figure([window], metric, 1)
                if seen.value is not None and seen.count >= LEAST_OBSERVATIONS:
                    found[metric][row, place] = logged(metric, seen.value)
    return found


def _stretches(replica: Window, start_s: float, stretch_s: float) -> dict[int, Window]:
    """What a replica did from the first snapshot of each stretch to the first one of the next, since its last restart.

    The last stretch ends with the last snapshot, where that covers enough of it.
    """
    snapshots = since_restart(replica).snapshots
    firsts: dict[int, Snapshot] = {}
    for snapshot in snapshots:
        firsts.setdefault(int((snapshot.at_s - start_s) // stretch_s), snapshot)
    ends = {place - 1: snapshot for place, snapshot in firsts.items()}
    ends.setdefault(max(firsts), snapshots[-1])
    return {
        place: Window((first, ends[place]))
        for place, first in firsts.items()
        if place in ends and ends[place].at_s - first.at_s >= LEAST_COVER * stretch_s
    }


def figure(cuts: Sequence[Window], metric: Metric, replicas: int) -> Figure:
    """A metric over an arm's cuts; no value when too few of its `replicas` are among them."""
    if not cuts or len(cuts) < LEAST_COVER * replicas:
        return Figure(None, 0.0, len(cuts))
    if metric in (Metric.FAILED, Metric.REJECTED):
        return _share(cuts, metric)
    if metric is Metric.PREFIX_HITS:
        return _computed(cuts)
    if metric is Metric.FINISHED:
        return _came(cuts)
    if metric.kind is Kind.HISTOGRAM:
        parts = [part for part in (observed(cut, metric) for cut in cuts) if part is not None]
        pooled = merge(parts)
        return Figure(None, 0.0, 0) if pooled is None else Figure(pooled.mean, pooled.count, len(parts))
    grown = [(cut.span_s, step) for cut in cuts if (step := increase(cut, metric)) is not None]
    if not grown:
        return Figure(None, 0.0, 0)
    total = sum(step for _, step in grown)
    return Figure(total / sum(seconds for seconds, _ in grown), total, len(grown))


def _share(cuts: Sequence[Window], metric: Metric) -> Figure:
    seen = [found for cut in cuts if (found := ends(cut)) is not None]
    requests = sum(sum(each.values()) for each in seen)
    return Figure(sum(each[metric] for each in seen) / requests if requests > 0 else None, requests, len(seen))


def _computed(cuts: Sequence[Window]) -> Figure:
    """Share of prompt tokens that the prefix cache did not save."""
    seen = [
        (queries, increase(cut, Metric.PREFIX_HITS) or 0.0)
        for cut in cuts
        if (queries := increase(cut, Metric.PREFIX_QUERIES)) is not None
    ]
    asked = sum(queries for queries, _ in seen)
    return Figure(1 - sum(hits for _, hits in seen) / asked if asked > 0 else None, asked, len(seen))


def _came(cuts: Sequence[Window]) -> Figure:
    """Requests that came, per second and replica: those that ended, and by how many more are there than before."""
    seen = [(cut, found) for cut in cuts if (found := ends(cut)) is not None and cut.span_s > 0]
    if not seen:
        return Figure(None, 0.0, 0)
    came = sum(
        max(0.0, sum(found.values()) + (increase(cut, Metric.ABORTED) or 0.0) + _more(cut)) for cut, found in seen
    )
    return Figure(came / sum(cut.span_s for cut, _ in seen), came, len(seen))


def _more(cut: Window) -> float:
    """How many more requests are there at the end than at the beginning."""
    points = [levels(cut, metric) for metric in (Metric.RUNNING, Metric.WAITING)]
    return sum(each[-1][1] - each[0][1] for each in points if each)


def ends(window: Window) -> dict[Metric, float] | None:
    """How many requests ended in each way; None where they are not counted.

    A counter that the page lacks counts as zero where finished requests are counted: engines create such a series
    with its first event, and a metric that the engine never exports is no criterion.
    """
    if increase(window, Metric.FINISHED) is None:
        return None
    return {each: increase(window, each) or 0.0 for each in _ENDS}


_ENDS = (Metric.FINISHED, Metric.FAILED, Metric.REJECTED)


def _cut_all(replicas: Sequence[Window], spans: Sequence[Span], span: Span) -> list[Window]:
    cuts = (_cut(replica, span, spans[0][0]) for replica in replicas)
    return [cut for cut in cuts if cut is not None and not resets(cut)]


def _cut(replica: Window, span: Span, first_s: float) -> Window | None:
    """What a replica did in a span, from the last scrape before it (so that nothing falls between two spans).

    Nothing before `first_s` is used. None when the scrapes cover too little of the span.
    """
    start_s, end_s = span
    before = [s for s in replica.snapshots if first_s <= s.at_s < start_s]
    inside = [s for s in replica.snapshots if start_s <= s.at_s <= end_s]
    if not inside:
        return None
    gap_s = inside[0].at_s - before[-1].at_s if before else 0.0
    lead = before[-1:] if gap_s <= end_s - start_s else []
    cut = Window((*lead, *inside))
    covered_s = inside[-1].at_s - (start_s if lead else inside[0].at_s)
    return cut if len(cut.snapshots) > 1 and covered_s >= LEAST_COVER * (end_s - start_s) else None


def _paired(span: Span, metric: Metric, old: Figure, new: Figure) -> PairedWindow:
    return PairedWindow(*span, metric, old.value, new.value, old.count, new.count, old.replicas, new.replicas)
