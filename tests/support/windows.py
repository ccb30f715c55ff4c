"""Windows written as one writes them down: `window(kv_usage="0.97x6", preemptions="0 5 _ 10")`.

- A metric is named as in `Metric`, in small letters, by its name or its value (`kv_usage`, `kv_usage_ratio`, `ttft`).
- Gauges and counters are words: `0.97x6` is six scrapes at 0.97, `0..50x6` six scrapes that climb evenly from 0 to 50,
  `_` is a missed scrape (`_x3` three of them). A single word without `x` holds at every scrape.
- A histogram is a list with the observations of each interval between two scrapes: `ttft=[[0.1, 0.2], [], None]` has
  four scrapes, the last one missed. It starts empty; with `[seen_before, …]` in `before=` it does not.
- Several series of one metric are a dict, engine rank → one of the above: `running={"0": "3x4", "1": "5x4"}`.
- A scrape that every given series missed is no snapshot at all; one that some missed lacks those series.

`preemptions=None` or not naming a metric at all is the same: the page does not carry it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import inf

from perfagent.domain.histogram import Histogram
from perfagent.domain.metric import Kind, Metric
from perfagent.domain.snapshot import Labels, Snapshot
from perfagent.domain.window import Window

START_S = 1_800_000_000.0

Intervals = Sequence[Sequence[float] | None]
Series = str | Intervals

TIMES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, inf)
"""Default edges of what is measured in seconds."""
SIZES = (1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, inf)
"""Default edges of what is counted in tokens."""


def window(
    *,
    every_s: float = 5.0,
    target: str = "r1",
    engine: str = "vllm",
    info: Mapping[str, str] | None = None,
    started_at_s: Sequence[float] | float | None = None,
    edges: Mapping[str, Sequence[float]] | None = None,
    before: Mapping[str, Sequence[float]] | None = None,
    **series: Series | Mapping[str, Series] | None,
) -> Window:
    """A window of one replica, a scrape every `every_s` seconds."""
    table: dict[tuple[Metric, Labels], list[float | Histogram | None]] = {}
    for name, given in series.items():
        if given is None:
            continue
        metric = metric_named(name)
        for key, one in given.items() if isinstance(given, Mapping) else [("", given)]:
            labels: Labels = (("engine", key),) if key else ()
            table[metric, labels] = _points(metric, one, (edges or {}).get(name), (before or {}).get(name, ()))
    scrapes = max((len(points) for points in table.values()), default=0)
    for (metric, _), points in table.items():
        if len(points) == 1:
            points *= scrapes
        if len(points) != scrapes:
            raise ValueError(f"{metric} has {len(points)} scrapes where others have {scrapes}")
    return Window(
        tuple(
            _snapshot(table, i, START_S + i * every_s, target, engine, info or {}, _start(started_at_s, i))
            for i in range(scrapes)
            if any(points[i] is not None for points in table.values())
        )
    )


def metric_named(name: str) -> Metric:
    """`kv_usage` or `kv_usage_ratio`."""
    return Metric[name.upper()] if name.upper() in Metric.__members__ else Metric(name)


def histogram(samples: Sequence[float], edges: Sequence[float] = TIMES) -> Histogram:
    """What an engine would export after observing `samples`."""
    return _exported([list(samples)], edges)[-1]


def numbers(words: str) -> list[float | None]:
    """`"0.97x6 _ 0..5x2"` as numbers; None is a missed scrape."""
    points: list[float | None] = []
    for word in words.split():
        what, _, times = word.partition("x")
        count = int(times) if times else 1
        if what == "_":
            points += [None] * count
        elif ".." in what:
            first, last = (float(end) for end in what.split(".."))
            points += [first + (last - first) * i / (count - 1) for i in range(count)]
        else:
            points += [float(what)] * count
    return points


def _points(
    metric: Metric, given: Series, edges: Sequence[float] | None, before: Sequence[float]
) -> list[float | Histogram | None]:
    if isinstance(given, str):
        if metric.kind is Kind.HISTOGRAM:
            raise ValueError(f"{metric} is a histogram: give the observations of each interval")
        return list(numbers(given))
    if metric.kind is not Kind.HISTOGRAM:
        raise ValueError(f"{metric} is no histogram: give words")
    shown = _exported(
        [before, *(samples or () for samples in given)], edges or (TIMES if metric.endswith("_s") else SIZES)
    )
    return [shown[0], *(None if samples is None else each for samples, each in zip(given, shown[1:], strict=True))]


def _exported(intervals: Iterable[Sequence[float]], edges: Sequence[float]) -> list[Histogram]:
    """What an engine would export after each interval, since before the first."""
    edges, counts, total = tuple(edges), [0] * len(edges), 0.0
    shown = []
    for samples in intervals:
        for sample in samples:
            counts[bisect_left(edges, sample)] += 1
            total += sample
        shown.append(Histogram(edges, tuple(map(float, accumulate(counts))), total))
    return shown


def _start(started_at_s: Sequence[float] | float | None, scrape: int) -> float | None:
    return started_at_s[scrape] if isinstance(started_at_s, Sequence) else started_at_s


def _snapshot(
    table: Mapping[tuple[Metric, Labels], Sequence[float | Histogram | None]],
    scrape: int,
    at_s: float,
    target: str,
    engine: str,
    info: Mapping[str, str],
    started_at_s: float | None,
) -> Snapshot:
    scalars: dict[Metric, dict[Labels, float]] = {}
    histograms: dict[Metric, dict[Labels, Histogram]] = {}
    for (metric, labels), points in table.items():
        point = points[scrape]
        if isinstance(point, Histogram):
            histograms.setdefault(metric, {})[labels] = point
        elif point is not None:
            scalars.setdefault(metric, {})[labels] = point
    return Snapshot(target, engine, at_s, scalars, histograms, info, started_at_s)
