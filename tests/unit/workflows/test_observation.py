from dataclasses import replace

import pytest

from perfagent.domain.verdict import Look, StageRule, Verdict
from perfagent.workflows.events import Applied, Event, Planned, PriorStored, Requested, Touching
from perfagent.workflows.machine import fold
from perfagent.workflows.model import Pace, Plan, Request, Rollout
from perfagent.workflows.observation import observation, past_length_s, stage_rule
from support.rollout_events import CAPTURED, PLAN, judged

PROMOTE = judged(Verdict.PROMOTE, at_s=1000.0)


def monitored(stage: int, plan: Plan = PLAN) -> Rollout:
    """A rollout that is observed in a stage since 10 000 s × (its index + 1)."""
    events: list[Event] = [Requested(0.0, Request("chat", "ann")), Planned(1.0, plan), PriorStored(5000.0, CAPTURED)]
    for index in range(stage + 1):
        at_s = 10_000.0 * (index + 1)
        events += [Touching(at_s, plan.stages[index].targets), Applied(at_s)]
        if index < stage:
            events.append(replace(PROMOTE, at_s=at_s + 700))
    return fold("r1", events)


def test_the_canary_is_compared_with_everybody_else_at_the_same_time() -> None:
    shown = observation(monitored(0))
    assert (shown.rule, shown.canary, shown.baseline) == (StageRule.NO_HARM, ("a",), ("b", "c", "d"))
    assert shown.past_s == (5000.0 - 3600.0, 5000.0)


def test_the_warm_up_is_cut_off_and_the_rest_cut_into_equal_windows() -> None:
    shown = observation(monitored(0))
    assert len(shown.windows) == 10
    assert shown.windows[0] == (10_060.0, 10_120.0)
    assert shown.windows[-1][1] == pytest.approx(10_660.0)


def test_at_the_half_the_change_must_be_proven_not_inferior() -> None:
    shown = observation(monitored(1))
    assert (shown.rule, shown.canary, shown.baseline) == (StageRule.NOT_INFERIOR, ("a", "b"), ("c", "d"))


def test_at_the_end_those_who_joined_last_are_compared_with_themselves_just_before() -> None:
    shown = observation(monitored(2))
    assert (shown.rule, shown.canary, shown.baseline) == (StageRule.WATCH, ("c", "d"), ())
    assert shown.past_s == (20_700.0 - 3600.0, 20_700.0)


def test_a_single_replica_is_always_compared_with_its_past_before_the_rollout() -> None:
    alone = replace(
        PLAN,
        targets=PLAN.targets[:1],
        stages=tuple(replace(stage, targets=("a",), actual_percent=100.0) for stage in PLAN.stages),
    )
    for stage, rule in enumerate((StageRule.NO_HARM, StageRule.NOT_INFERIOR, StageRule.WATCH)):
        shown = observation(monitored(stage, alone))
        assert (shown.rule, shown.canary, shown.baseline) == (rule, ("a",), ())
        assert shown.past_s[1] == pytest.approx(5000.0)


@pytest.mark.parametrize("percents", [(100,), (10, 100), (10, 40, 100)])
def test_where_no_stage_proved_the_change_the_whole_fleet_has_to(percents: tuple[int, ...]) -> None:
    stages = tuple(replace(PLAN.stages[-1], percent=percent) for percent in percents)
    assert stage_rule(stages, len(stages) - 1) is StageRule.NOT_INFERIOR


def test_the_past_is_whole_stretches_and_no_shorter_than_one_observation() -> None:
    for monitoring_s, expected in ((600.0, 3600.0), (1000.0, 3500.0), (7200.0, 7200.0)):
        assert past_length_s(Pace(monitoring_s=monitoring_s)) == pytest.approx(expected)


def test_an_extended_observation_keeps_what_it_has_seen() -> None:
    rollout = monitored(0)
    longer = replace(rollout, judge_at_s=10_660.0 + 600.0, extensions=1)
    assert (observation(rollout).look, observation(longer).look) == (Look(1, 3, 3), Look(2, 3, 3))
    assert len(observation(longer).windows) == 20
    assert observation(longer).windows[:10] == observation(rollout).windows


def test_after_a_long_silence_only_the_latest_windows_are_looked_at() -> None:
    rollout = replace(monitored(0), judge_at_s=10_060.0 + 600.0 * 1000)
    windows = observation(rollout).windows
    assert len(windows) == 30
    assert windows[-1][1] == pytest.approx(610_060.0)
