"""The last hour against a service's own past, and its settings against what was told of them.

Hours are compared in logarithms, shares as they are: a figure has drifted when it is unlike its usual value by more
than its own spread explains and by enough to matter. Where earlier weeks are at hand, the same hour of the week is the
measure: a service that is busy every Monday morning has not drifted on Monday morning.
"""

from collections.abc import Mapping, Sequence
from math import exp, log
from statistics import median

from perfagent.analysis.limits import LIMITS, Limits
from perfagent.analysis.spread import robust_sd
from perfagent.domain.drift import ConfigDrift, Drift, Figure
from perfagent.domain.knob import EffectiveConfig, Knob, KnobValue, Source
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, increase, observed

HOUR_S = 3600.0
HOURS_OF_WEEK = 7 * 24

Totals = Mapping[Figure, tuple[float, float]]
"""What one replica's figures were made of in an hour, numerator and denominator; what was not measured is left out."""
Hour = Sequence[Totals]
"""The totals of each replica."""


def totals(window: Window) -> Totals:
    """What is kept of a window of about an hour."""
    counted = {
        Figure.ARRIVALS: (increase(window, Metric.FINISHED), window.span_s),
        Figure.REUSE: (increase(window, Metric.PREFIX_HITS), increase(window, Metric.PREFIX_QUERIES)),
    }
    seen = {figure: observed(window, metric) for figure, metric in _MEANS.items()}
    measured = {figure: (each.total, each.count) for figure, each in seen.items() if each is not None}
    return measured | {figure: (n, d) for figure, (n, d) in counted.items() if n is not None and d is not None}


_MEANS = {
    Figure.PROMPT: Metric.PROMPT_LENGTH,
    Figure.ANSWER: Metric.GENERATION_LENGTH,
    Figure.TTFT: Metric.TTFT,
    Figure.ITL: Metric.ITL,
}


def drifts(now: Hour, now_s: float, past: Mapping[float, Hour], limits: Limits = LIMITS) -> tuple[Drift, ...]:
    """Figures of the last hour, which began at `now_s`, unlike those of the hours that began at the times in `past`."""
    found = (_drift(figure, now, now_s, past, limits) for figure in Figure)
    return tuple(drift for drift in found if drift is not None)


def enough_past(past: Mapping[float, Hour], limits: Limits = LIMITS) -> bool:
    """Whether so much is known that anything can be called usual."""
    return len(past) >= limits.least_hours


def _value(figure: Figure, hour: Hour) -> float | None:
    """Of all replicas together: requests add up, the rest are means over all that was measured.

    An hour without any request counts as one with a single one: a ratio to nothing says nothing.
    """
    known = [each[figure] for each in hour if figure in each and each[figure][1] > 0]
    if not known:
        return None
    if figure is Figure.ARRIVALS:
        return max(sum(n / d for n, d in known), 1 / HOUR_S)
    value = sum(n for n, _ in known) / sum(d for _, d in known)
    return value if value > 0 or figure is Figure.REUSE else None


def _drift(figure: Figure, now: Hour, now_s: float, past: Mapping[float, Hour], limits: Limits) -> Drift | None:
    value = _value(figure, now)
    known = [(at_s, was) for at_s, hour in past.items() if (was := _value(figure, hour)) is not None]
    if value is None or len(known) < limits.least_hours:
        return None
    scaled = _as_it_is if figure is Figure.REUSE else log
    hours: dict[int, list[float]] = {}
    for at_s, was in known:
        hours.setdefault(_hour_of_week(at_s), []).append(scaled(was))
    overall = median(each for same in hours.values() for each in same)
    usual = {hour: median(same) if len(same) >= limits.least_weeks else overall for hour, same in hours.items()}
    # a daily rhythm is no spread: each hour is held against what one would have expected of it
    spread = robust_sd(each - usual[hour] for hour, same in hours.items() for each in same)
    this = _hour_of_week(now_s)
    same_hour = len(hours.get(this, ())) >= limits.least_weeks
    expected = usual[this] if same_hour else overall
    off = scaled(value) - expected
    matters = limits.share_drift if figure is Figure.REUSE else log(limits.outlier_ratio)
    if abs(off) < matters or abs(off) <= limits.outlier_sds * spread:
        return None
    return Drift(
        figure,
        expected if figure is Figure.REUSE else exp(expected),
        value,
        abs(off) / spread if spread else None,
        len(hours[this]) if same_hour else len(known),
        same_hour,
    )


def _hour_of_week(at_s: float) -> int:
    return round(at_s / HOUR_S) % HOURS_OF_WEEK


def _as_it_is(value: float) -> float:
    return value


def config_drifts(told: EffectiveConfig, in_force: Mapping[str, EffectiveConfig]) -> tuple[ConfigDrift, ...]:
    """Settings that a server says of itself unlike the flags that were told, or unlike most of its peers'."""
    return (*_unlike_the_flags(told, in_force), *_unlike_the_peers(in_force))


def _unlike_the_flags(told: EffectiveConfig, in_force: Mapping[str, EffectiveConfig]) -> list[ConfigDrift]:
    return [
        ConfigDrift(target, knob, setting.value, flag.value, "its flags")
        for target, config in in_force.items()
        for knob, setting in config.settings.items()
        if setting.source is Source.READ_BACK
        and (flag := told.settings.get(knob)) is not None
        and flag.source is Source.FLAG
        and flag.value != setting.value
    ]


def _unlike_the_peers(in_force: Mapping[str, EffectiveConfig]) -> list[ConfigDrift]:
    found = []
    for knob in Knob:
        values = {target: value for target, config in in_force.items() if (value := config.value(knob)) is not None}
        usual = _most(list(values.values()))
        if usual is not None:
            found += [
                ConfigDrift(target, knob, value, usual, "most of its peers")
                for target, value in values.items()
                if value != usual
            ]
    return found


def _most(values: Sequence[KnobValue]) -> KnobValue | None:
    """What more than half of them are; None where no value is."""
    return next((value for value in values if 2 * values.count(value) > len(values)), None)
