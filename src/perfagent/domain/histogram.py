"""Bucketed distributions as Prometheus keeps them, and what may honestly be said of them.

Mean and the share at a bucket edge are exact and may decide something. A quantile is interpolated and therefore
always comes with the bounds between which it must lie.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite
from operator import le, lt, sub

from perfagent.domain.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Quantile:
    """An interpolated quantile and the bucket it lies in; `high` is infinite in the last bucket."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative counts at rising edges; the last edge is +inf and its count is the number of observations.

    Raises `InvalidInput` where the numbers cannot be a histogram (edges not rising, counts falling, NaN).
    """

    edges: tuple[float, ...]
    cumulative: tuple[float, ...]
    total: float
    """Sum of the observed values, in the metric's unit."""

    def __post_init__(self) -> None:
        if not self.edges or self.edges[-1] != inf or len(self.edges) != len(self.cumulative):
            raise InvalidInput("a histogram needs one count per edge and +Inf as its last edge")
        if not all(map(lt, self.edges, self.edges[1:])):
            raise InvalidInput("histogram edges must rise")
        if not (self.cumulative[0] >= 0 and all(map(le, self.cumulative, self.cumulative[1:]))):
            raise InvalidInput("histogram counts must be cumulative")
        if not (isfinite(self.cumulative[-1]) and isfinite(self.total)):
            raise InvalidInput("histogram counts and sum must be finite")

    @property
    def count(self) -> float:
        """Number of observations."""
        return self.cumulative[-1]

    @property
    def mean(self) -> float | None:
        """Exact mean, or None when nothing was observed."""
        return self.total / self.count if self.count > 0 else None

    def share_at_or_below(self, edge: float) -> float | None:
        """Exact share of observations ≤ `edge`, or None when nothing was observed.

        Raises `InvalidInput` where `edge` is not one of the edges: between edges nothing is known exactly.
        """
        if edge not in self.edges:
            raise InvalidInput(f"{edge} is not a bucket edge; the nearest is {self.snap(edge)}")
        return self.cumulative[self.edges.index(edge)] / self.count if self.count > 0 else None

    def snap(self, value: float) -> float:
        """The finite edge nearest to `value` (the larger of two equally near)."""
        finite = self.edges[:-1] or self.edges
        return min(reversed(finite), key=lambda edge: abs(edge - value))

    def quantile(self, q: float) -> Quantile | None:
        """The q-quantile (0 < q ≤ 1), linear inside its bucket; None when nothing was observed.

        In the last bucket nothing but the lower bound is known: the value is that bound and `high` is infinite.
        The first bucket is taken to start at 0 when its edge is positive, as all latencies and lengths do.
        """
        if not 0 < q <= 1:
            raise InvalidInput(f"a quantile lies in (0, 1], not at {q}")
        if self.count <= 0:
            return None
        rank = q * self.count
        below, low = 0.0, min(0.0, self.edges[0])
        for edge, reached in zip(self.edges, self.cumulative, strict=True):
            if reached >= rank and reached > below:
                inside = low if edge == inf else low + (edge - low) * (rank - below) / (reached - below)
                return Quantile(min(inside, edge), low, edge)
            below, low = reached, edge
        raise AssertionError("the last bucket holds every observation")

    def since(self, earlier: "Histogram") -> "Histogram":
        """What was observed after `earlier`. A histogram that fell or changed its edges was reset: all of it is new.

        Observations are taken to be positive, as all latencies and lengths are, so that the sum cannot fall either.
        """
        if earlier.edges != self.edges:
            return self
        grown = tuple(map(sub, self.cumulative, earlier.cumulative))
        if grown[0] < 0 or not all(map(le, grown, grown[1:])) or self.total < earlier.total:
            return self
        return Histogram(self.edges, grown, self.total - earlier.total)


def merge(histograms: Iterable[Histogram]) -> Histogram | None:
    """All observations together, on the edges that every histogram has (so shares stay exact); None for none."""
    parts = tuple(histograms)
    if len(parts) < 2:
        return parts[0] if parts else None
    edges, counts = parts[0].edges, [part.cumulative for part in parts]
    if any(part.edges != edges for part in parts):
        common = set(edges).intersection(*(part.edges for part in parts))
        edges = tuple(edge for edge in edges if edge in common)
        counts = [tuple(part.cumulative[part.edges.index(edge)] for edge in edges) for part in parts]
    return Histogram(edges, tuple(map(sum, zip(*counts, strict=True))), sum(part.total for part in parts))
