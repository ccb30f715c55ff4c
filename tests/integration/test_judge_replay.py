import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.metric import Metric
from perfagent.domain.verdict import Look, StageRule, Verdict
from perfagent.domain.window import Window
from perfagent.judge import criteria_for
from perfagent.judge.replay import Recorded, exported, judge_recorded, rehearse
from support.noisy_fleets import Noise, fleet

CALM = Noise(swing=0.05, burst=0.03)
TWICE = dict.fromkeys((Metric.TTFT, Metric.ITL, Metric.E2E), 2.0)
LOOK = Look(1, 1, 1)


def joined(*parts: dict[str, Window]) -> list[Window]:
    """Fleets one after the other, as if the counters had begun anew with each."""
    return [Window(tuple(s for part in parts for s in part[target].snapshots)) for target in parts[0]]


@pytest.mark.parametrize(("worse", "expected"), [({}, Verdict.PROMOTE), (TWICE, Verdict.ROLL_BACK)])
def test_recorded_arms_are_judged_with_their_past(worse: dict[Metric, float], expected: Verdict) -> None:
    slower = dict.fromkeys(("r00", "r01", "r02", "r03", "r04"), worse)
    past, now = fleet(1, noise=CALM, minutes=60), fleet(1, noise=CALM, minutes=10, start_s=3620.0, slower=slower)
    arms = joined(past, now)
    seen = Recorded(arms[5:], arms[:5], (0.0, 3600.0), (3620.0, 4220.0))
    verdict = judge_recorded(seen, criteria_for(None, exported(arms)), StageRule.NOT_INFERIOR, LOOK)
    assert verdict.verdict is expected
    assert verdict.quiet is not None
    assert (verdict.quiet.replicas, verdict.quiet.stretches) == (10, 12)


def test_without_a_baseline_the_canarys_own_past_stands_in() -> None:
    arms = joined(fleet(1, noise=CALM, minutes=60), fleet(1, noise=CALM, start_s=3620.0))[:1]
    seen = Recorded([], arms, (0.0, 3600.0), (3620.0, 4220.0))
    verdict = judge_recorded(seen, criteria_for(None, exported(arms)), StageRule.WATCH, LOOK)
    assert (verdict.verdict, verdict.paired) == (Verdict.PROMOTE, False)
    nothing = Recorded([], arms, (3620.0, 3620.0), (3620.0, 4220.0))
    assert judge_recorded(nothing, criteria_for(None, exported(arms)), StageRule.WATCH, LOOK).verdict is Verdict.HOLD


def test_a_rehearsal_takes_every_replica_for_a_canary_and_finds_nothing_in_a_quiet_past() -> None:
    replicas = list(fleet(2, replicas=4, noise=CALM, minutes=100).values())
    found = list(rehearse(replicas, criteria_for(None, exported(replicas)), past_s=3600.0, observed_s=600.0, look=LOOK))
    assert [each.target for each in found] == ["r00", "r01", "r02", "r03"] * 4
    assert {each.verdict.verdict for each in found} == {Verdict.PROMOTE}


def test_a_rehearsal_finds_a_replica_that_became_slow() -> None:
    before = fleet(3, replicas=4, noise=CALM, minutes=60)
    after = fleet(3, replicas=4, noise=CALM, start_s=3620.0, slower={"r02": TWICE})
    replicas = joined(before, after)
    found = rehearse(replicas, criteria_for(None, exported(replicas)), past_s=3620.0, observed_s=600.0, look=LOOK)
    assert {each.target for each in found if each.verdict.verdict is Verdict.ROLL_BACK} == {"r02"}


@pytest.mark.parametrize(("replicas", "past_s"), [(1, 600.0), (2, 3600.0)])
def test_too_little_for_a_rehearsal_is_refused(replicas: int, past_s: float) -> None:
    recorded = list(fleet(4, replicas=replicas, minutes=30).values())
    with pytest.raises(InvalidInput, match="a rehearsal takes"):
        list(rehearse(recorded, (), past_s=past_s, observed_s=600.0, look=LOOK))


def test_an_observation_without_time_or_windows_is_refused() -> None:
    for observed, windows in (((5.0, 5.0), 10), ((0.0, 600.0), 4)):
        with pytest.raises(InvalidInput, match="at least 5 windows"):
            judge_recorded(Recorded([], [], (0.0, 0.0), observed, windows), (), StageRule.WATCH, LOOK)


def test_only_what_every_replica_tells_is_judged() -> None:
    replicas = list(fleet(5, replicas=2, minutes=1).values())
    assert Metric.TTFT in exported(replicas)
    assert exported([]) == frozenset()
