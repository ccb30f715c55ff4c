"""Recorded pages, and what the reference parser reads on a page."""

import os
import re
from collections.abc import Sequence
from math import isnan
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as classic_families

from perfagent.domain.snapshot import Sample

REPO = Path(__file__).parents[2]
FIXTURES = REPO / "tests" / "fixtures"
CAPTURES = Path(os.environ.get("PERFAGENT_CAPTURES", REPO.parent / "shared" / "captures"))
DERIVED = CAPTURES.parent / "engines" / "metrics_pages"


def fixture_pages() -> list[Path]:
    """Every page in the repository."""
    return sorted(path for path in FIXTURES.rglob("*") if path.suffix in (".prom", ".om"))


def recorded_pages() -> list[Path]:
    """Every page of every recording at hand; empty where there are none."""
    return sorted(CAPTURES.rglob("*.prom")) + sorted(DERIVED.glob("*.txt"))


def by_reference(page: str) -> list[Sample]:
    """The page as prometheus_client reads it, in page order, every number a float.

    TYPE lines are left out: by them the classic parser appends `_total` to the names of counters that lack it.
    """
    families = classic_families(re.sub(r"(?m)^\s*#\s*TYPE.*\n", "", page))
    return [_sample(sample) for family in families for sample in family.samples]


def by_openmetrics_reference(page: str) -> list[Sample]:
    """An OpenMetrics page as prometheus_client reads it."""
    families = openmetrics_families(page)  # type: ignore[no-untyped-call]
    return [_sample(sample) for family in families for sample in family.samples]


def same(ours: Sequence[Sample], theirs: Sequence[Sample]) -> bool:
    """Whether both read the same, NaN being NaN."""
    return [_comparable(sample) for sample in ours] == [_comparable(sample) for sample in theirs]


def _sample(sample: object) -> Sample:
    name, labels, value = sample.name, sample.labels, sample.value  # type: ignore[attr-defined]
    return Sample(name, tuple(labels.items()), float(value))


def _comparable(sample: Sample) -> tuple[object, ...]:
    return (sample.name, sample.labels, "NaN" if isnan(sample.value) else sample.value)
