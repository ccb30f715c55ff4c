"""From a page's samples to a snapshot, by an engine's table, in one pass.

Newest spelling first: an older one counts only where the newer is not on the page, so the same observation is never
counted twice. Histograms that cannot be (no +Inf, counts not cumulative, NaN, a count that contradicts the buckets)
are dropped rather than guessed.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import count
from math import isfinite, nan
from typing import NamedTuple, TypeVar

from perfagent.domain.errors import InvalidInput
from perfagent.domain.histogram import Histogram
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Labels, Sample, Snapshot
from perfagent.engines.spec import EngineSpec, Form, Source

V = TypeVar("V", float, Histogram)


class _Route(NamedTuple):
    slot: int
    part: str
    where: Mapping[str, re.Pattern[str]]


class _Plan(NamedTuple):
    """A table made ready for the one pass: every term of every source has a slot that collects its rows."""

    routes: Mapping[str, tuple[_Route, ...]]
    """Sample name → where its rows go; names that are only looked at have nowhere to go."""
    sources: Mapping[Metric, tuple[tuple[Source, tuple[int, ...]], ...]]
    slots: int


_Row = tuple[str, Labels, float]
_Figure = Callable[[Mapping[str, str]], float | None]
_Rows = list[list[_Row]]
_Seen = Mapping[str, tuple[Labels, float]]


def read(spec: EngineSpec, samples: Iterable[Sample], *, target: str, at_s: float) -> Snapshot:
    """The snapshot that a page's samples make; samples that the table does not know are passed over."""
    plan = _plan(spec)
    rows, seen = _sort(plan, samples)
    scalars: dict[Metric, Mapping[Labels, float]] = {}
    histograms: dict[Metric, Mapping[Labels, Histogram]] = {}
    for metric, sources in plan.sources.items():
        for source, slots in sources:
            if source.form is Form.HISTOGRAM:
                if parts := _histograms(spec, rows[slots[0]]):
                    histograms[metric] = parts
                    break
            elif values := _scalars(spec, source, [rows[slot] for slot in slots], seen):
                scalars[metric] = values
                break
    started = seen.get(spec.started_at) if spec.started_at is not None else None
    return Snapshot(
        target=target,
        engine=spec.name,
        at_s=at_s,
        scalars=scalars,
        histograms=histograms,
        info=_info(spec, seen),
        started_at_s=started[1] if started is not None and isfinite(started[1]) else None,
    )


@cache
def wanted(spec: EngineSpec) -> frozenset[str]:
    """The names of all samples that the table looks at, histograms' `_bucket`, `_sum` and `_count` included."""
    return frozenset(_plan(spec).routes)


def recognise(specs: Iterable[EngineSpec], names: Iterable[str]) -> str | None:
    """Whose page it is, by the names on it: the engine that most of them belong to, or None where none do."""
    present = set(names)
    counts = {spec.name: sum(name.startswith(spec.marker) for name in present) for spec in specs}
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] else None


def _sort(plan: _Plan, samples: Iterable[Sample]) -> tuple[_Rows, _Seen]:
    """The one pass: each wanted sample to the terms that count it; and of every wanted name the first sample."""
    routes = plan.routes
    rows: list[list[_Row]] = [[] for _ in range(plan.slots)]
    seen: dict[str, tuple[Labels, float]] = {}
    for name, labels, number in samples:
        ways = routes.get(name)
        if ways is None:
            continue
        if name not in seen:
            seen[name] = (labels, number)
        for slot, part, where in ways:
            if not where or _passes(labels, where):
                rows[slot].append((part, labels, number))
    return rows, seen


@cache
def _plan(spec: EngineSpec) -> _Plan:
    routes: dict[str, list[_Route]] = {}
    plan: dict[Metric, tuple[tuple[Source, tuple[int, ...]], ...]] = {}
    slot = count()
    for metric, sources in spec.metrics.items():
        planned = []
        for source in sources:
            slots = []
            for term in source.terms:
                slots.append(next(slot))
                where = {label: re.compile(pattern) for label, pattern in term.where.items()}
                for part in _parts(source):
                    routes.setdefault(term.name + part, []).append(_Route(slots[-1], part, where))
            planned.append((source, tuple(slots)))
        plan[metric] = tuple(planned)
    looked_at = {source.zero_if for sources in spec.metrics.values() for source in sources}
    for name in looked_at | {spec.info_labels, spec.started_at, *spec.info_values}:
        if name is not None:
            routes.setdefault(name, [])
    return _Plan({name: tuple(ways) for name, ways in routes.items()}, plan, next(slot))


def _parts(source: Source) -> tuple[str, ...]:
    return ("_bucket", "_sum", "_count") if source.form is Form.HISTOGRAM else ("",)


def _passes(labels: Labels, where: Mapping[str, re.Pattern[str]]) -> bool:
    for label, text in labels:
        pattern = where.get(label)
        if pattern is not None and pattern.fullmatch(text) is None:
            return False
    return True


def _scalars(spec: EngineSpec, source: Source, terms: list[list[_Row]], seen: _Seen) -> Mapping[Labels, float]:
    if source.labels_value is not None:
        return _from_labels(source, source.labels_value, terms[0])
    total: dict[Labels, float] = {}
    for place, rows in enumerate(terms):
        finite = {labels: number for _, labels, number in rows if isfinite(number)}
        if place == 0 and not finite:
            return {(): 0.0} if source.zero_if in seen else {}
        for key, number in _without_repeats(spec, finite).items():
            total[key] = total.get(key, 0.0) + number
    return total


def _from_labels(source: Source, figure: _Figure, rows: list[_Row]) -> Mapping[Labels, float]:
    told = ((labels, figure(dict(labels))) for _, labels, _ in rows)
    return {tuple([p for p in labels if p[0] in source.labels_kept]): n for labels, n in told if n is not None}


def _histograms(spec: EngineSpec, rows: list[_Row]) -> Mapping[Labels, Histogram]:
    buckets: dict[Labels, dict[float, float]] = {}
    sums: dict[Labels, float] = {}
    counts: dict[Labels, float] = {}
    for part, labels, number in rows:
        if part == "_bucket":
            edge, key = _edge(labels)
            buckets.setdefault(key, {})[edge] = number
        elif part == "_sum":
            sums[labels] = number
        else:
            counts[labels] = number
    whole = {}
    for key, reached in buckets.items():
        one = _histogram(reached, sums.get(key), counts.get(key))
        if one is not None:
            whole[key] = one
    return _without_repeats(spec, whole)


def _edge(labels: Labels) -> tuple[float, Labels]:
    """A bucket's upper edge, NaN where it has none, and the labels of its series."""
    for place, (label, text) in enumerate(labels):
        if label == "le":
            rest = labels[:place] + labels[place + 1 :]
            try:
                return float(text), rest
            except ValueError:
                return nan, rest
    return nan, labels


def _histogram(reached: dict[float, float], total: float | None, observations: float | None) -> Histogram | None:
    if total is None:
        return None
    try:
        whole = Histogram(tuple(reached), tuple(reached.values()), total)
    except InvalidInput:
        return None
    return whole if observations in (None, whole.count) else None


def _without_repeats(spec: EngineSpec, series: Mapping[Labels, V]) -> Mapping[Labels, V]:
    """One of the series that differ only in labels that repeat: always the same one, whatever the page's order."""
    if not spec.repeats:
        return series
    chosen: dict[Labels, Labels] = {}
    for labels in series:
        key = tuple([pair for pair in labels if pair[0] not in spec.repeats])
        chosen[key] = min(labels, chosen.get(key, labels))
    return {key: series[labels] for key, labels in chosen.items()}


def _info(spec: EngineSpec, seen: _Seen) -> Mapping[str, str]:
    """Engines behind one address are configured alike, so the first one's labels speak for all."""
    info = {key: f"{seen[name][1]:.15g}" for name, key in spec.info_values.items() if name in seen}
    if spec.info_labels is not None and spec.info_labels in seen:
        info.update(seen[spec.info_labels][0])
    return info
