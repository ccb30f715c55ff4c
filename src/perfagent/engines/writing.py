"""The writing direction of the tables: which samples a server of an engine's release exposes for each metric."""

from collections.abc import Mapping
from dataclasses import dataclass

from perfagent.domain.errors import InvalidInput
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Labels
from perfagent.engines import release as releases
from perfagent.engines.spec import EngineSpec, Writing, Written


@dataclass(frozen=True, slots=True)
class Family:
    """Samples that carry one metric. Several families may share a name (label values tell them apart) or a metric."""

    metric: Metric
    name: str
    """The sample name; for a histogram what `_bucket`, `_sum` and `_count` are appended to."""
    type: str
    """`gauge`, `counter` or `histogram`."""
    labels: Labels
    """Template: `{model}` stands for the served model's name, `{rank}` for the engine's data-parallel rank."""
    edges: tuple[float, ...] = ()
    """Finite bucket edges, rising; +Inf comes on top."""
    less: Metric | None = None
    """A histogram whose count is subtracted from the metric to get what stands in this family."""

    def series(self, model: str, rank: int) -> Labels:
        """The labels of one engine's series."""
        return filled(self.labels, model, rank)


@dataclass(frozen=True, slots=True)
class Exposition:
    """How one release of an engine writes its page."""

    families: tuple[Family, ...]
    lazy: bool
    """Series appear at their first observation, otherwise they are all there from the start at zero."""
    info_name: str | None
    """A gauge fixed at 1 whose labels are the configuration, as Python text."""
    info_labels: Labels
    """The labels that identify its series, as a template."""
    info_keys: tuple[str, ...]
    """The configuration labels that this release has, of those that are read."""
    info_values: Mapping[str, str]
    """Gauges whose value is a setting: sample name → key in `Snapshot.info`; with the labels of the first family."""
    started_at: str | None
    """The gauge with the server's start in unix seconds; it has no labels."""


def filled(labels: Labels, model: str, rank: int) -> Labels:
    """A label template for one model and rank."""
    return tuple((label, text.format(model=model, rank=rank)) for label, text in labels)


def exposition(spec: EngineSpec, release: str | None, max_model_len: int) -> Exposition:
    """How `release` (the newest that we know for None) writes its page.

    `max_model_len` shapes the edges of length histograms. Raises `InvalidInput` for a release older than the table.
    """
    writing = spec.writing
    at = releases.known(release) or spec.newest
    if not releases.within(at, writing.since, None):
        raise InvalidInput(f"pages of {spec.name} {at} cannot be written; the oldest is {writing.since}")
    written = [family for family in writing.families if releases.within(at, family.since, family.until)]
    name, keys = writing.info if writing.info is not None else (None, ())
    return Exposition(
        families=tuple(_family(writing, family, at, max_model_len) for family in written),
        lazy=writing.lazy,
        info_name=name,
        info_labels=_labels(writing, "info", at) if name is not None else (),
        info_keys=releases.pick(at, keys) or (),
        info_values=spec.info_values,
        started_at=spec.started_at,
    )


def _family(writing: Writing, written: Written, release: str, longest: int) -> Family:
    edges = releases.pick(release, written.edges) or ()
    return Family(
        metric=written.metric,
        name=written.name,
        type=written.metric.kind.name.partition("_")[0].lower(),
        labels=tuple(sorted((*_labels(writing, written.group, release), *written.labels))),
        edges=edges(longest) if callable(edges) else edges,
        less=written.less,
    )


def _labels(writing: Writing, group: str, release: str) -> Labels:
    return releases.pick(release, writing.groups[group]) or ()
