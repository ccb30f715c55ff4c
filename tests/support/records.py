"""Hypothesis strategies for what the store keeps: any snapshot, any service."""

from math import inf

from hypothesis import strategies as st

from perfagent.domain.freeze import Day, Period, Weekly
from perfagent.domain.histogram import Histogram
from perfagent.domain.knob import Knob, LaunchConfig
from perfagent.domain.metric import Kind, Metric
from perfagent.domain.policy import Bounds, Policy
from perfagent.domain.quality import Quality
from perfagent.domain.service import Service
from perfagent.domain.share import Share
from perfagent.domain.slo import Comparison, Objective, SloMetric, Statistic
from perfagent.domain.snapshot import Labels, Snapshot, Target

_FINITE = st.floats(allow_nan=False, allow_infinity=False)
_TEXT = st.text(max_size=8)
_LABELS: st.SearchStrategy[Labels] = st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(tuple)
_HISTOGRAMS = [metric for metric in Metric if metric.kind is Kind.HISTOGRAM]
_SCALARS = [metric for metric in Metric if metric.kind is not Kind.HISTOGRAM]


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    """Any histogram: one bucket or several, empty or not."""
    edges = sorted(draw(st.sets(_FINITE, max_size=5)))
    counts = st.floats(min_value=0, allow_infinity=False)
    cumulative = sorted(draw(st.lists(counts, min_size=len(edges) + 1, max_size=len(edges) + 1)))
    return Histogram((*edges, inf), tuple(cumulative), draw(_FINITE))


def snapshots() -> st.SearchStrategy[Snapshot]:
    """Any snapshot, with the values that a page may carry: NaN and infinities too."""
    return st.builds(
        Snapshot,
        target=_TEXT,
        engine=_TEXT,
        at_s=_FINITE,
        scalars=st.dictionaries(
            st.sampled_from(_SCALARS), st.dictionaries(_LABELS, st.floats(), max_size=2), max_size=3
        ),
        histograms=st.dictionaries(
            st.sampled_from(_HISTOGRAMS), st.dictionaries(_LABELS, histograms(), max_size=2), max_size=2
        ),
        info=st.dictionaries(_TEXT, _TEXT, max_size=2),
        started_at_s=st.none() | _FINITE,
    )


def services() -> st.SearchStrategy[Service]:
    """Any service, whether or not it makes sense."""
    objectives = st.builds(
        Objective,
        metric=st.sampled_from(SloMetric),
        target=st.floats(allow_nan=False),
        comparison=st.sampled_from(Comparison),
        statistic=st.sampled_from(Statistic),
    )
    days = st.lists(st.sampled_from(Day), min_size=1, max_size=7).map(tuple)
    minutes = st.integers(0, 1439)
    zones = st.sampled_from(["UTC", "Europe/Berlin"])
    periods = st.floats(0, 1e9).map(lambda from_s: Period(from_s, from_s + 1.0))
    freezes = st.builds(Weekly, days, minutes, minutes, zones, _TEXT) | periods
    share = st.floats(min_value=1e-6, max_value=1)
    asked = st.lists(st.text(min_size=1, max_size=8), max_size=3).map(tuple)
    qualities = st.builds(Quality, prompts=asked, tokens_differ=share, probability_shift=share)
    stages = st.lists(st.builds(Share, st.integers(1, 100)), max_size=3).map(tuple)
    return st.builds(
        Service,
        id=_TEXT,
        engine=_TEXT,
        targets=st.lists(st.builds(Target, id=_TEXT, url=_TEXT), max_size=3).map(tuple),
        objectives=st.lists(objectives, max_size=3).map(tuple),
        actuator=_TEXT,
        policy=st.builds(
            Policy,
            stages=stages,
            approval=_TEXT,
            allow=st.none() | st.lists(st.sampled_from(Knob), max_size=2).map(tuple),
            bounds=st.lists(st.builds(Bounds, st.sampled_from(Knob), _FINITE), max_size=2).map(tuple),
            max_unready=st.integers(1, 9),
            approval_timeout_s=_FINITE,
            cooldown_s=_FINITE,
            changes_per_day=st.none() | st.integers(1, 9),
            freezes=st.lists(freezes, max_size=2).map(tuple),
            quality=qualities,
        ),
        launch=st.builds(
            LaunchConfig,
            flags=st.lists(_TEXT, max_size=3).map(tuple),
            env=st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(tuple),
        ),
        release=st.none() | _TEXT,
    )
