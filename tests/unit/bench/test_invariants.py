"""The checks on rollouts see what they are there to see."""

import pytest

from perfagent.bench.invariants import Changed, half_applied, widened_unasked
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.verdict import Verdict
from perfagent.workflows.events import Applied, Event, Planned, PriorStored, Requested, RolledBack, Touching
from perfagent.workflows.machine import fold
from perfagent.workflows.model import Request
from support.rollout_events import CAPTURED, IDS, PLAN, judged

FIRST: tuple[Event, ...] = (
    Requested(0.0, Request("chat", "ann")),
    Planned(1.0, PLAN),
    PriorStored(2.0, CAPTURED),
    Touching(3.0, ("a",)),
    Applied(10.0),
)
WIDENED = (*FIRST, judged(Verdict.PROMOTE, at_s=700.0), Touching(701.0, ("b",)), Applied(710.0))
DONE = (
    *WIDENED,
    judged(Verdict.PROMOTE, at_s=1400.0),
    Touching(1401.0, ("c", "d")),
    Applied(1410.0),
    judged(Verdict.PROMOTE, at_s=2100.0),
)
UNDONE = (*FIRST, judged(Verdict.ROLL_BACK, at_s=700.0), RolledBack(720.0, ()))
PRIORS = {each.target: each.prior for each in CAPTURED}
DESIRED = {each.target: each.desired for each in CAPTURED}


@pytest.mark.parametrize(("events", "right", "wrong"), [(UNDONE, PRIORS, DESIRED), (DONE, DESIRED, PRIORS)])
def test_a_replica_that_is_not_as_the_end_says_is_counted(
    events: tuple[Event, ...], right: dict[str, LaunchConfig], wrong: dict[str, LaunchConfig]
) -> None:
    rollout = fold("r1", events)
    assert half_applied(rollout, PRIORS, right) == 0
    assert half_applied(rollout, PRIORS, {**right, "c": wrong["c"]}) == 1
    assert half_applied(rollout, PRIORS, wrong) == len(IDS)


@pytest.mark.parametrize(
    ("changes", "unasked"),
    [
        ([(3.0, "a", True), (701.0, "b", True), (1401.0, "d", True)], False),
        ([(3.0, "a", True), (699.0, "b", True)], True),
        ([(701.0, "c", True)], True),
        ([(3.0, "a", True), (699.0, "b", False)], False),
    ],
)
def test_a_replica_that_is_changed_before_its_stage_was_promoted_to_is_seen(
    changes: list[Changed], unasked: bool
) -> None:
    assert widened_unasked(fold("r1", DONE), DONE, changes) is unasked


def test_a_replica_that_is_changed_without_a_plan_is_seen() -> None:
    assert widened_unasked(fold("r1", FIRST[:1]), FIRST[:1], [(1.0, "a", True)])
