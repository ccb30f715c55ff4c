"""One replica at one instant: the figures of one scraped page, in our vocabulary."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from perfagent.domain.histogram import Histogram
from perfagent.domain.metric import Metric

Labels = tuple[tuple[str, str], ...]
"""Label pairs as they stood on the page."""


class Sample(NamedTuple):
    """One line of an exposition page."""

    name: str
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Target:
    """A replica: where its metrics are, and which service it belongs to."""

    id: str
    url: str
    """Base address, without `/metrics`."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One replica at one instant. A metric that the page did not carry is absent here, never zero."""

    target: str
    engine: str
    at_s: float
    """Unix seconds on the agent's clock."""
    scalars: Mapping[Metric, Mapping[Labels, float]] = field(default_factory=dict)
    """Gauges and counters, by series."""
    histograms: Mapping[Metric, Mapping[Labels, Histogram]] = field(default_factory=dict)
    info: Mapping[str, str] = field(default_factory=dict)
    """Configuration that the page carries as labels, in the engine's own words."""
    started_at_s: float | None = None
    """When the server process started, where the page says so."""
