"""The verdicts, and how often they are wrong on seeded noise (`pytest -s` prints the counts)."""

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Snapshot
from perfagent.domain.verdict import StageVerdict, Verdict
from perfagent.domain.window import Window
from perfagent.judge import StageRule, criteria_for, judge_stage
from perfagent.judge.stage import Measured, decide
from support.noise import constant_windows, paired_windows
from support.noisy_fleets import fleet

LATENCY = criteria_for(None, frozenset({Metric.TTFT, Metric.ITL, Metric.E2E, Metric.GENERATION_TOKENS}))
ALL = criteria_for(None, frozenset({each.metric for each in LATENCY} | {Metric.FAILED}))
SPANS = [(60.0 * k, 60.0 * k + 60) for k in range(10)]
EVERYWHERE = dict.fromkeys((Metric.TTFT, Metric.ITL, Metric.E2E), 2.0)
FLEETS = 300


def judged(
    windows: dict[str, Window], canaries: list[str], rule: StageRule, *, expected: list[str] | None = None
) -> StageVerdict:
    baseline = [window for target, window in windows.items() if target not in canaries]
    canary = [windows[target] for target in canaries if target in windows]
    return judge_stage(baseline, canary, ALL, rule=rule, windows=SPANS, canaries=expected or canaries)


@cache
def verdicts(rule: StageRule, *, canaries: int, worse: float = 1.0) -> Counter[Verdict]:
    counted = Counter(
        decide(
            Measured(
                paired_windows(
                    seed,
                    canaries=canaries,
                    baselines=canaries if rule is StageRule.OWN_PAST else 10 - canaries,
                    worse=worse,
                    apart=rule is StageRule.OWN_PAST,
                )
            ),
            LATENCY,
            rule=rule,
        ).verdict
        for seed in range(FLEETS)
    )
    print(f"{rule} {canaries} canaries ×{worse}: " + ", ".join(f"{verdict} {counted[verdict]}" for verdict in Verdict))
    return counted


def test_equal_replicas_are_hardly_ever_rolled_back() -> None:
    assert verdicts(StageRule.NO_HARM, canaries=1)[Verdict.ROLL_BACK] <= 0.02 * FLEETS
    assert verdicts(StageRule.NOT_INFERIOR, canaries=5)[Verdict.ROLL_BACK] <= 0.02 * FLEETS
    assert verdicts(StageRule.OWN_PAST, canaries=5)[Verdict.ROLL_BACK] <= 0.02 * FLEETS


def test_equal_replicas_are_mostly_promoted() -> None:
    assert verdicts(StageRule.NO_HARM, canaries=1)[Verdict.PROMOTE] >= 0.8 * FLEETS
    assert verdicts(StageRule.NOT_INFERIOR, canaries=5)[Verdict.PROMOTE] >= 0.7 * FLEETS


def test_what_is_a_fifth_slower_never_passes_the_half() -> None:
    assert verdicts(StageRule.NOT_INFERIOR, canaries=5, worse=1.2)[Verdict.PROMOTE] <= 0.01 * FLEETS


def test_what_is_half_slower_is_stopped_at_the_first_replica() -> None:
    assert verdicts(StageRule.NO_HARM, canaries=1, worse=1.5)[Verdict.ROLL_BACK] >= 0.97 * FLEETS


@pytest.mark.parametrize("seed", range(3))
def test_a_doubled_latency_on_one_of_ten_replicas_is_rolled_back(seed: int) -> None:
    verdict = judged(fleet(seed, slower={"r00": EVERYWHERE}), ["r00"], StageRule.NO_HARM)
    assert verdict.verdict is Verdict.ROLL_BACK
    assert any(reason.startswith("ttft_s:") for reason in verdict.reasons)


@pytest.mark.parametrize("rule", [StageRule.NO_HARM, StageRule.NOT_INFERIOR])
def test_a_good_fleet_is_promoted_at_every_share(rule: StageRule) -> None:
    canaries = ["r00"] if rule is StageRule.NO_HARM else ["r00", "r01", "r02", "r03", "r04"]
    verdict = judged(fleet(1), canaries, rule)
    assert verdict.verdict is Verdict.PROMOTE
    assert len(verdict.reasons) == len(ALL)


def test_the_same_replicas_are_compared_with_their_own_past() -> None:
    ids = ["r00", "r01", "r02"]
    past, spans = fleet(1, replicas=3, start_s=-600.0), [(a - 600, b - 600) for a, b in SPANS]
    for seed, slower, expected in ((2, {}, Verdict.PROMOTE), (2, dict.fromkeys(ids, EVERYWHERE), Verdict.ROLL_BACK)):
        now = fleet(seed, replicas=3, slower=slower)
        verdict = judge_stage(
            list(past.values()), list(now.values()), ALL, rule=StageRule.OWN_PAST, windows=SPANS, past=spans
        )
        assert verdict.verdict is expected


@given(st.sampled_from([StageRule.NO_HARM, StageRule.NOT_INFERIOR]), st.integers(0, 10_000))
def test_arms_that_behave_exactly_alike_are_never_rolled_back(rule: StageRule, seed: int) -> None:
    twins = tuple(replace(w, canary=w.baseline) for w in paired_windows(seed, canaries=5, baselines=5))
    assert decide(Measured(twins), LATENCY, rule=rule).verdict is Verdict.PROMOTE


@given(st.sampled_from(StageRule), st.integers(0, 10_000), st.data())
def test_missing_data_never_promotes(rule: StageRule, seed: int, data: st.DataObject) -> None:
    lost = data.draw(st.sampled_from([criterion.metric for criterion in LATENCY]))
    arm = data.draw(st.sampled_from(["baseline", "canary"]))
    windows = tuple(
        replace(w, **{arm: None}) if w.metric is lost else w  # type: ignore[arg-type]
        for w in paired_windows(seed, canaries=5, baselines=5)
    )
    assert decide(Measured(windows), LATENCY, rule=rule).verdict is not Verdict.PROMOTE


@pytest.mark.parametrize("rule", StageRule)
def test_no_data_at_all_holds(rule: StageRule) -> None:
    verdict = judge_stage([], [], ALL, rule=rule, windows=SPANS, past=SPANS, canaries=["r00"])
    assert verdict.verdict is Verdict.HOLD
    assert len(verdict.reasons) == len(ALL)


def test_no_criteria_hold() -> None:
    assert decide(Measured(()), (), rule=StageRule.NO_HARM).reasons == ("there is nothing to judge by",)


def test_a_verdict_is_recomputed_from_the_windows_that_it_kept() -> None:
    for slower in ({}, {"r00": EVERYWHERE}):
        verdict = judged(fleet(3, slower=slower), ["r00"], StageRule.NO_HARM)
        assert decide(Measured(verdict.windows), ALL, rule=StageRule.NO_HARM) == verdict


def test_what_only_looks_worse_than_accepted_is_held_at_the_first_share() -> None:
    windows = tuple(
        replace(w, canary=(w.canary or 0) * (2.2 if k % 2 else 0.65))
        for k, w in enumerate(constant_windows([(Metric.TTFT, 1.0, 1.0)], replicas=(9, 1)))
    )
    verdict = decide(Measured(windows), LATENCY[:1], rule=StageRule.NO_HARM)
    assert verdict.verdict is Verdict.HOLD
    assert "neither certainly" in verdict.reasons[0]


def test_what_is_not_proven_to_be_within_the_margin_is_held_at_the_half() -> None:
    windows = constant_windows([(Metric.TTFT, 1.0, 1.0)], replicas=(1, 1))
    assert decide(Measured(windows), LATENCY[:1], rule=StageRule.NO_HARM).verdict is Verdict.PROMOTE
    wide = tuple(replace(w, canary=1.1) for w in windows)
    assert decide(Measured(wide), LATENCY[:1], rule=StageRule.NOT_INFERIOR).verdict is Verdict.HOLD


def test_more_failing_requests_roll_back_though_latencies_are_fine() -> None:
    verdict = judged(fleet(4, failing={"r00": 0.05}), ["r00"], StageRule.NO_HARM)
    assert verdict.verdict is Verdict.ROLL_BACK
    assert all(reason.startswith("requests_failed") for reason in verdict.reasons)


def restarted(window: Window, at_s: float) -> Window:
    born = [replace(s, started_at_s=at_s if s.at_s >= at_s else 0.0) for s in window.snapshots]
    return Window(tuple(born))


def test_a_canary_that_restarts_while_it_is_observed_is_rolled_back() -> None:
    windows = fleet(5)
    windows["r00"] = restarted(windows["r00"], 300.0)
    verdict = judged(windows, ["r00"], StageRule.NO_HARM)
    assert verdict.verdict is Verdict.ROLL_BACK
    assert verdict.reasons[0] == "r00 restarted while it was observed"


def test_a_baseline_replica_that_restarts_is_no_harm() -> None:
    windows = fleet(1)
    windows["r09"] = restarted(windows["r09"], 300.0)
    assert judged(windows, ["r00"], StageRule.NO_HARM).verdict is Verdict.PROMOTE


def test_a_canary_that_vanishes_while_others_are_seen_is_rolled_back() -> None:
    windows = fleet(5)
    early: list[Snapshot] = [s for s in windows["r00"].snapshots if s.at_s < 300]
    verdict = judged({**windows, "r00": Window(tuple(early))}, ["r00"], StageRule.NO_HARM)
    assert "r00 vanished while it was observed" in verdict.reasons
    del windows["r00"]
    never_seen = judged(windows, ["r00"], StageRule.NO_HARM)
    assert "r00 vanished while it was observed" in never_seen.reasons


def test_when_nobody_is_seen_the_scraper_is_at_fault_and_the_stage_is_held() -> None:
    early = {target: Window(tuple(s for s in window.snapshots if s.at_s < 200)) for target, window in fleet(5).items()}
    assert judged(early, ["r00"], StageRule.NO_HARM).verdict is Verdict.HOLD
