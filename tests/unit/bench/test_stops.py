"""What is counted of endings."""

from dataclasses import replace

import pytest

from perfagent.bench.changes import Truth
from perfagent.bench.rollouts import End, Ending
from perfagent.bench.stops import stops

ROLLED_BACK = Ending(
    number=0,
    kind="errors",
    truth=Truth.HARMFUL,
    replicas=10,
    noise="offsets of 5 %",
    end=End.ROLLED_BACK,
    percent=10,
    widened=False,
    minutes=3.0,
    changed_min=4.0,
    half_applied=0,
    broken=(),
    deaths=1,
    reason="",
)


def test_a_rollout_is_stopped_at_the_first_stage_where_no_more_replicas_ever_had_the_change() -> None:
    ends = [
        ROLLED_BACK,
        replace(ROLLED_BACK, end=End.HELD),
        replace(ROLLED_BACK, end=End.HELD, percent=50),  # of two replicas half is the same one
        replace(ROLLED_BACK, percent=50, widened=True),
        replace(ROLLED_BACK, end=End.PROMOTED, percent=100, widened=True, minutes=90.0, changed_min=400.0),
        replace(ROLLED_BACK, end=End.REFUSED, percent=0, minutes=0.0, changed_min=0.0),
    ]
    told = stops(ends)
    (row,) = (row for row in told["kinds"] if row["kind"] == "errors")
    assert (row["rollouts"], row["refused"], row["stopped_first"]["value"]) == (6, 1, pytest.approx(3 / 5))
    assert [row[end]["value"] for end in ("rolled_back", "held", "promoted")] == pytest.approx([2 / 5, 2 / 5, 1 / 5])
    assert (row["rolled_back_at"], row["held_at"]) == ({"10": 1, "50": 1}, {"10": 1, "50": 1})
    assert (row["minutes_median"], row["changed_min_median"], row["changed_min_most"]) == (3.0, 4.0, 400.0)
    assert (told["half_applied"], told["broken"], told["deaths"]) == (0, [], 6)


def test_what_must_never_happen_is_told() -> None:
    told = stops([replace(ROLLED_BACK, half_applied=2, broken=("it was widened without a verdict",)), ROLLED_BACK])
    assert (told["half_applied"], told["broken"]) == (1, ["it was widened without a verdict"])
