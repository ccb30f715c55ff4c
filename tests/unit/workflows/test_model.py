from dataclasses import replace

import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Knob
from perfagent.workflows.model import Phase, Request, Rollout
from support.rollout_events import PLAN


@pytest.mark.parametrize("seconds", [0, -5, float("nan"), float("inf")])
def test_a_monitoring_time_that_cannot_be_meant_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidInput, match="monitored"):
        Request("chat", "ann", monitoring_s=seconds)


@pytest.mark.parametrize("threshold", [-1, 101, float("nan")])
def test_a_health_threshold_off_the_scale_is_refused(threshold: float) -> None:
    with pytest.raises(InvalidInput, match="health threshold"):
        Request("chat", "ann", health_threshold=threshold)


def test_whatever_changes_in_a_plan_changes_its_hash() -> None:
    others = [
        replace(PLAN, change=((Knob.MAX_NUM_SEQS, 65),)),
        replace(PLAN, change=((Knob.MAX_NUM_SEQS, "64"),)),
        replace(PLAN, targets=PLAN.targets[:3]),
        replace(PLAN, stages=PLAN.stages[1:]),
        replace(PLAN, pace=replace(PLAN.pace, monitoring_s=601.0)),
        replace(PLAN, criteria=()),
    ]
    assert len({PLAN.hash, *(other.hash for other in others)}) == len(others) + 1


def test_a_number_written_as_whole_or_with_a_point_is_the_same_plan() -> None:
    assert replace(PLAN, pace=replace(PLAN.pace, monitoring_s=600)).hash == PLAN.hash


def test_true_is_not_the_number_one_in_a_plan() -> None:
    one, true = (replace(PLAN, change=((Knob.CHUNKED_PREFILL, value),)) for value in (1, True))
    assert one.hash != true.hash


def test_four_phases_are_final() -> None:
    assert [phase for phase in Phase if phase.ended] == [
        Phase.COMPLETED,
        Phase.ROLLED_BACK,
        Phase.REJECTED,
        Phase.FAILED,
    ]


def test_a_rollout_without_a_plan_has_no_stage_and_no_share() -> None:
    rollout = Rollout("r1", Request("chat", "ann"), 0.0, 0.0)
    assert rollout.current_stage is None
    assert rollout.fleet_percent == 0.0
    assert rollout.active
