"""What one replica did between its first and its last snapshot.

Snapshots rise strictly in time. Counter resets, missing scrapes and series that come and go are absorbed here, so
detectors and the judge never see them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from statistics import median

from perfagent.domain.errors import InvalidInput
from perfagent.domain.histogram import Histogram, merge
from perfagent.domain.metric import Kind, Metric
from perfagent.domain.snapshot import Labels, Snapshot


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive snapshots of one replica. Raises `InvalidInput` when they mix replicas or do not rise in time."""

    snapshots: tuple[Snapshot, ...]
    since_start: bool = False
    """True when the figures are the replica's whole life up to its only snapshot, for want of a second one."""

    def __post_init__(self) -> None:
        if not self.snapshots:
            raise InvalidInput("a window needs at least one snapshot")
        if any(a.target != b.target or a.at_s >= b.at_s for a, b in pairwise(self.snapshots)):
            raise InvalidInput("a window's snapshots are of one replica and rise in time")

    @property
    def target(self) -> str:
        """The replica's id."""
        return self.snapshots[0].target

    @property
    def engine(self) -> str:
        """The engine's name."""
        return self.snapshots[-1].engine

    @property
    def start_s(self) -> float:
        """When the first snapshot was taken."""
        return self.snapshots[0].at_s

    @property
    def end_s(self) -> float:
        """When the last snapshot was taken."""
        return self.snapshots[-1].at_s

    @property
    def span_s(self) -> float:
        """Seconds from the first to the last snapshot."""
        return self.end_s - self.start_s

    def between(self, start_s: float, end_s: float) -> "Window | None":
        """The part whose snapshots lie in [start_s, end_s]; None where there are none."""
        inside = tuple(s for s in self.snapshots if start_s <= s.at_s <= end_s)
        return Window(inside, self.since_start) if inside else None


def lifetime(snapshot: Snapshot) -> Window:
    """The whole life of a replica as seen by one page: counters are read as if they had started at zero just now.

    Rates are unknown in such a window (its span is 0), means and shares are those since the server started.
    """
    return Window((snapshot,), since_start=True)


def levels(window: Window, metric: Metric) -> list[tuple[float, float]]:
    """A gauge over time as (unix seconds, value), its series combined as the metric says. Missing points are left out.

    Values that are not finite are not measurements. A scrape without a series that was there before and is there again
    afterwards says nothing of all series together, so it is a missing point as well.
    """
    combine = max if metric.kind is Kind.GAUGE_MAX else sum
    scrapes = [_finite(snapshot, metric) for snapshot in window.snapshots]
    first: dict[Labels, int] = {}
    last: dict[Labels, int] = {}
    for turn, values in enumerate(scrapes):
        for key in values:
            first.setdefault(key, turn)
            last[key] = turn
    return [
        (snapshot.at_s, float(combine(values.values())))
        for turn, (snapshot, values) in enumerate(zip(window.snapshots, scrapes, strict=True))
        if values and all(key in values for key in first if first[key] < turn < last[key])
    ]


def mean_level(window: Window, metric: Metric) -> float | None:
    """Mean of a gauge over its scrapes, or None where it was never seen."""
    points = levels(window, metric)
    return sum(value for _, value in points) / len(points) if points else None


def increase(window: Window, metric: Metric) -> float | None:
    """How much a counter grew, over all its series; None where it was never seen after the first snapshot.

    A counter that fell was reset: what it shows afterwards is all new. So is what any counter shows after a restart
    that the start time tells, and a series that first appears inside the window: engines create many of theirs at the
    first event, and a page that is not whole is never read.
    """
    grown = list(_steps(window, metric))
    return sum(grown) if grown else None


def rate(window: Window, metric: Metric) -> float | None:
    """Mean increase per second, or None with fewer than two samples."""
    if window.span_s <= 0:
        return None
    grown = increase(window, metric)
    return None if grown is None else grown / window.span_s


def observed(window: Window, metric: Metric) -> Histogram | None:
    """What a histogram recorded within the window, all series merged; None where it was never seen twice.

    An empty histogram (count 0) means that the engine exports it and nothing happened.
    """
    known: dict[Labels, Histogram] = {}
    parts: list[Histogram] = []
    for turn, (snapshot, fresh) in enumerate(_processes(window)):
        if fresh:
            known = {}
        for key, value in snapshot.histograms.get(metric, {}).items():
            if turn > 0 or window.since_start:
                parts.append(value.since(known[key]) if key in known else value)
            known[key] = value
    return merge(parts)


def since_restart(window: Window) -> Window:
    """The part after the last restart, which is the server as it is set now; the whole window when there was none.

    A restart whose process has been seen only once leaves that one page, as its own lifetime.
    """
    restarts = _restarts(window)
    if not restarts:
        return window
    rest = window.snapshots[restarts[-1] :]
    return Window(rest) if len(rest) > 1 else lifetime(rest[0])


def resets(window: Window) -> int:
    """How often the replica restarted inside the window, seen by its start time or by token counters that fell."""
    return len(_restarts(window))


def gaps(window: Window, *, factor: float = 1.75) -> list[tuple[float, float]]:
    """Stretches (start, end) in which scrapes are missing: longer than `factor` times the usual spacing."""
    spacings = [(a.at_s, b.at_s) for a, b in pairwise(window.snapshots)]
    if len(spacings) < 3:
        return []
    usual = median(b - a for a, b in spacings)
    return [(a, b) for a, b in spacings if b - a > factor * usual]


def _steps(window: Window, metric: Metric) -> Iterator[float]:
    known: dict[Labels, float] = {}
    for turn, (snapshot, fresh) in enumerate(_processes(window)):
        if fresh:
            known = {}
        for key, value in snapshot.scalars.get(metric, {}).items():
            before = known.get(key, 0.0)
            if isfinite(value) and isfinite(before) and (turn > 0 or window.since_start):
                yield value if value < before else value - before
            if isfinite(value) or key not in known:
                known[key] = value


def _finite(snapshot: Snapshot, metric: Metric) -> dict[Labels, float]:
    return {key: value for key, value in snapshot.scalars.get(metric, {}).items() if isfinite(value)}


def _processes(window: Window) -> Iterator[tuple[Snapshot, bool | None]]:
    """Each snapshot, and whether it is another process than the one before; None where the page does not tell.

    A start time may waver a little: some are computed from an uptime.
    """
    started_at_s: float | None = None
    engine = window.snapshots[0].engine
    for snapshot in window.snapshots:
        fresh: bool | None = None
        if snapshot.engine != engine:
            fresh = True
        elif snapshot.started_at_s is not None and started_at_s is not None:
            fresh = snapshot.started_at_s > started_at_s + 0.5
        yield snapshot, fresh
        engine = snapshot.engine
        started_at_s = snapshot.started_at_s if snapshot.started_at_s is not None else started_at_s


def _restarts(window: Window) -> list[int]:
    """Which snapshots are the first of another process: by its start time, else by token counters that fell."""
    restarts: list[int] = []
    known: dict[Labels, float] = {}
    for turn, (snapshot, fresh) in enumerate(_processes(window)):
        tokens = _finite(snapshot, Metric.GENERATION_TOKENS)
        fell = any(value < known.get(key, 0.0) for key, value in tokens.items())
        if fresh or (fresh is None and fell):
            restarts.append(turn)
            known = {}
        known |= tokens
    return restarts
