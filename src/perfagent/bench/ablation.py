"""Which evidence an answer needs: the same windows diagnosed again, each time with one piece of it left out."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from perfagent.bench.look import Views, diagnosed
from perfagent.bench.scenario import NONE
from perfagent.domain.knob import EffectiveConfig
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window

FLAGS = "flags"
"""The piece that is no metric: every setting that is known, told or read from the page."""


def right_without(views: Views, accept: Collection[str]) -> dict[str, bool]:
    """Every piece of evidence that is there, and whether the first cause named without it is accepted."""
    return {piece: _first(rest) in accept for piece, rest in _each_left_out(views)}


def without(window: Window, metric: Metric) -> Window:
    """The window as if no page had carried the metric."""
    return replace(
        window,
        snapshots=tuple(
            replace(
                snapshot,
                scalars={name: series for name, series in snapshot.scalars.items() if name is not metric},
                histograms={name: series for name, series in snapshot.histograms.items() if name is not metric},
            )
            for snapshot in window.snapshots
        ),
    )


def _each_left_out(views: Views) -> Iterator[tuple[str, Views]]:
    pages = [snapshot for window, _ in views for snapshot in window.snapshots]
    carried = {metric for page in pages for metric in (*page.scalars, *page.histograms)}
    for metric in Metric:
        if metric in carried:
            yield metric.value, [(without(window, metric), config) for window, config in views]
    if any(config.settings or config.at_least for _, config in views):
        yield FLAGS, [(window, EffectiveConfig({})) for window, _ in views]


def _first(views: Views) -> str:
    return next((finding.cause.value for finding in diagnosed(views).findings), NONE)
