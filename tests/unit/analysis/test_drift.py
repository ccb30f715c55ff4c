from collections.abc import Mapping

import numpy as np
import pytest

from perfagent.analysis.drift import HOUR_S, HOURS_OF_WEEK, Hour, config_drifts, drifts, enough_past, totals
from perfagent.domain.drift import Drift, Figure
from perfagent.domain.knob import EffectiveConfig, Knob, KnobValue, Setting, Source
from support.windows import window

WEEK_S = HOURS_OF_WEEK * HOUR_S
NOW_S = 10 * WEEK_S


def hour(
    finished: float = 3600, prompt: float = 500, answer: float = 100, reuse: float = 0.5, itl: float = 0.01
) -> Hour:
    """Two scrapes an hour apart."""
    each = 40
    seen = window(
        every_s=HOUR_S,
        finished=f"0 {finished}",
        prompt_length=[[prompt] * each],
        generation_length=[[answer] * each],
        prefix_queries="0 1000",
        prefix_hits=f"0 {1000 * reuse}",
        ttft=[[10 * itl] * each],
        itl=[[itl] * each],
    )
    return [totals(seen)]


def past(hours: int = 72, *, seed: int = 7, spread: float = 0.05) -> Mapping[float, Hour]:
    """Hours that are alike but for some noise."""
    noise = np.random.default_rng(seed).lognormal(0, spread, (hours, 5))
    return {
        NOW_S - (n + 1) * HOUR_S: hour(3600 * a, 500 * b, 100 * c, min(1.0, 0.5 * d), 0.01 * e)
        for n, (a, b, c, d, e) in enumerate(noise)
    }


def found(now: Hour, before: Mapping[float, Hour]) -> dict[Figure, Drift]:
    return {drift.figure: drift for drift in drifts(now, NOW_S, before)}


def test_an_hour_like_the_others_has_not_drifted() -> None:
    assert found(hour(), past()) == {}
    assert found(hour(4200, 560, 110, 0.55, 0.0105), past()) == {}


@pytest.mark.parametrize(
    ("now", "figure", "of_workload"),
    [
        (hour(finished=9000), Figure.ARRIVALS, True),
        (hour(finished=900), Figure.ARRIVALS, True),
        (hour(prompt=2000), Figure.PROMPT, True),
        (hour(answer=20), Figure.ANSWER, True),
        (hour(reuse=0.1), Figure.REUSE, True),
        (hour(reuse=0.0), Figure.REUSE, True),
        (hour(finished=0), Figure.ARRIVALS, True),
    ],
)
def test_each_figure_of_the_workload_drifts_by_itself(now: Hour, figure: Figure, of_workload: bool) -> None:
    (drift,) = found(now, past()).values()
    assert (drift.figure, drift.figure.of_workload, drift.hours, drift.same_hour) == (figure, of_workload, 72, False)
    assert drift.sds is not None
    assert drift.sds > 3.5


def test_a_slower_service_shows_in_its_pace() -> None:
    slow = found(hour(itl=0.03), past())
    assert set(slow) == {Figure.TTFT, Figure.ITL}
    assert slow[Figure.ITL].usual == pytest.approx(0.01, rel=0.05)
    assert slow[Figure.ITL].now == pytest.approx(0.03)
    assert not slow[Figure.ITL].figure.of_workload


def test_a_service_that_varies_a_lot_has_not_drifted_when_it_varies() -> None:
    assert Figure.ARRIVALS in found(hour(finished=7200), past())
    assert Figure.ARRIVALS not in found(hour(finished=7200), past(spread=0.5))


def test_a_day_of_past_is_needed() -> None:
    assert not enough_past(past(23))
    assert found(hour(finished=9000), past(23)) == {}
    assert enough_past(past(24))
    assert found(hour(finished=9000), past(24))


def test_with_earlier_weeks_the_same_hour_is_the_measure() -> None:
    """Every hour of the week in which it is now is four times as busy."""
    hours = int(2 * WEEK_S / HOUR_S)
    busy = {at_s: hour(finished=14_400) for at_s in (NOW_S - WEEK_S, NOW_S - 2 * WEEK_S)}
    weeks = {**past(hours), **busy}
    assert found(hour(finished=14_400), weeks) == {}
    drift = found(hour(), weeks)[Figure.ARRIVALS]
    assert (drift.hours, drift.same_hour, round(drift.usual, 2)) == (2, True, 4.0)


def test_hours_in_which_nothing_was_measured_say_nothing() -> None:
    nothing = [totals(window(every_s=HOUR_S, running="0 0"))]
    assert found(nothing, past()) == {}
    silent = dict.fromkeys(past(), nothing)
    assert found(hour(), silent) == {}


def test_several_replicas_count_together() -> None:
    before = {at_s: [*each, *each] for at_s, each in past().items()}
    assert found([*hour(), *hour()], before) == {}
    assert set(found(hour(), before)) == {Figure.ARRIVALS}


def config(source: Source, **values: KnobValue) -> EffectiveConfig:
    return EffectiveConfig({Knob(knob): Setting(value, source) for knob, value in values.items()})


def test_a_server_that_says_otherwise_than_its_flags_is_told() -> None:
    told = config(Source.FLAG, max_num_seqs=64, max_num_batched_tokens=8192)
    as_told = config(Source.READ_BACK, max_num_seqs=64)
    (drift,) = config_drifts(told, {"a": as_told, "b": config(Source.READ_BACK, max_num_seqs=32)} | {"c": as_told})[:1]
    assert (drift.target, drift.knob, drift.in_force, drift.expected) == ("b", Knob.MAX_NUM_SEQS, 32, 64)
    assert config_drifts(told, {"a": as_told}) == ()
    assert config_drifts(config(Source.DEFAULT, max_num_seqs=64), {"a": config(Source.READ_BACK, max_num_seqs=8)}) == ()


def test_a_server_unlike_most_of_its_peers_is_told_and_halves_are_not() -> None:
    a, b = config(Source.READ_BACK, max_num_seqs=64), config(Source.READ_BACK, max_num_seqs=32)
    untold = EffectiveConfig({})
    (drift,) = config_drifts(untold, {"a": a, "b": b, "c": a})
    assert (drift.target, drift.in_force, drift.expected, drift.because) == ("b", 32, 64, "most of its peers")
    assert config_drifts(untold, {"a": a, "b": b}) == ()
