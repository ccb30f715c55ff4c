from dataclasses import replace

import pytest

from perfagent.clock import VirtualClock
from perfagent.domain.errors import Unreachable
from perfagent.domain.knob import LaunchConfig
from perfagent.workflows import replicas
from perfagent.workflows.events import Applied, Planned, PriorStored, Requested, Touching
from perfagent.workflows.machine import fold
from perfagent.workflows.model import Captured, Request, Rollout
from support.rollout_events import IDS, PLAN
from support.rollouts import FleetDouble

OLD = LaunchConfig(("--max-num-seqs", "8"), (("MODE", "old"),))
NEW = LaunchConfig(("--max-num-seqs", "64"), (("MODE", "new"),))
HALF = LaunchConfig(NEW.flags, OLD.env)
OTHER = LaunchConfig(("--max-num-seqs", "32"), OLD.env)
BEING_CHANGED = (
    Requested(0.0, Request("chat", "ann")),
    Planned(1.0, PLAN),
    PriorStored(2.0, tuple(Captured(each, OLD, NEW) for each in IDS)),
    Touching(3.0, ("a",)),
)


def fleet(**runs: LaunchConfig) -> FleetDouble:
    made = FleetDouble(VirtualClock(), PLAN.targets)
    for each in IDS:
        made.restart(each, runs.get(each, OLD))
    return made


async def edited(rollout: Rollout, **runs: LaunchConfig) -> list[str]:
    return [edit.target for edit in await replicas.edits(rollout, fleet(**runs), ())]


@pytest.mark.parametrize(
    ("running", "while_changed", "once_applied"),
    [(OLD, [], ["a"]), (NEW, [], []), (HALF, [], ["a"]), (OTHER, ["a"], ["a"])],
)
async def test_what_this_rollout_may_have_left_half_done_is_nobody_elses_change(
    running: LaunchConfig, while_changed: list[str], once_applied: list[str]
) -> None:
    assert await edited(fold("r1", BEING_CHANGED), a=running) == while_changed
    assert await edited(fold("r1", (*BEING_CHANGED, Applied(10.0))), a=running) == once_applied


@pytest.mark.parametrize(("running", "found"), [(OLD, []), (NEW, ["d"]), (HALF, ["d"]), (OTHER, ["d"])])
async def test_a_replica_that_was_not_touched_runs_as_it_was_stored(running: LaunchConfig, found: list[str]) -> None:
    assert await edited(fold("r1", BEING_CHANGED), d=running) == found


async def test_a_replica_that_cannot_be_read_is_passed_over_unless_it_is_needed() -> None:
    rollout, made = fold("r1", BEING_CHANGED), fleet(c=OTHER)
    made.unreachable = {"d"}
    assert [edit.target for edit in await replicas.edits(rollout, made, ("a",))] == ["c"]
    with pytest.raises(Unreachable):
        await replicas.edits(rollout, made, ("d",))


async def test_in_a_stage_that_changes_nothing_more_the_replicas_before_it_count_as_changed() -> None:
    lone = replace(PLAN, stages=(PLAN.stages[0], PLAN.stages[0]))
    rollout = replace(fold("r1", (*BEING_CHANGED, Applied(10.0))), plan=lone, stage=1, applied_at_s=None)
    assert await edited(rollout, a=OLD) == ["a"]
