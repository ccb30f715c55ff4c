from dataclasses import replace

import pytest

from perfagent.domain.policy import Policy
from perfagent.workflows.model import Phase, Request, Rollout, StageRecord
from perfagent.workflows.resting import must_rest

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
START_S = 1_800_000_000.0


def ended(phase: Phase, at_s: float, *, touched: bool = True) -> Rollout:
    """A rollout that touched its first replica ten minutes before its end."""
    began_s = START_S + at_s - 600.0
    record = StageRecord(10, 10.0, ("a",), began_s)
    rollout = Rollout("r", Request("chat", "ann"), began_s, START_S + at_s, phase)
    return replace(rollout, touched=("a",), history=(record,)) if touched else rollout


@pytest.mark.parametrize(
    ("before", "waits"),
    [
        ([], False),
        ([ended(Phase.ROLLED_BACK, 0.0)], True),
        ([ended(Phase.FAILED, 0.0)], True),
        ([ended(Phase.COMPLETED, 0.0)], False),
        ([ended(Phase.ROLLED_BACK, 0.0, touched=False)], False),
        ([ended(Phase.ROLLED_BACK, -HOUR_S)], False),
        ([ended(Phase.ROLLED_BACK, 0.0), ended(Phase.COMPLETED, 60.0)], True),
    ],
)
def test_after_a_rollback_that_changed_something_a_service_rests(before: list[Rollout], waits: bool) -> None:
    told = must_rest(Policy(cooldown_s=HOUR_S), before, START_S + 60.0)
    assert (told is not None) is waits
    assert told is None or told.endswith("1h of rest after that: until 2027-01-15 09:00:00 UTC")


def test_without_a_cooldown_no_rest_is_wanted() -> None:
    assert must_rest(Policy(), [ended(Phase.ROLLED_BACK, 0.0)], START_S) is None


def test_no_more_changes_begin_within_a_day_than_the_policy_allows() -> None:
    policy = Policy(changes_per_day=2)
    first, second = (ended(Phase.COMPLETED, at_s) for at_s in (600.0, HOUR_S + 600.0))
    assert must_rest(policy, [first], START_S + 2 * HOUR_S) is None
    assert must_rest(policy, [first, ended(Phase.REJECTED, 0.0, touched=False)], START_S + 2 * HOUR_S) is None
    told = must_rest(policy, [second, first], START_S + DAY_S - 1.0)
    assert told is not None
    assert told.startswith("it was changed 2 times within 24 hours")
    assert told.endswith("until 2027-01-16 08:00:00 UTC")
    assert must_rest(policy, [second, first], START_S + DAY_S) is None
