"""The verdicts. How often they are wrong on noise is measured by `perfagent bench judge`."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.errors import InvalidInput
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Snapshot
from perfagent.domain.verdict import Look, PairedWindow, StageRule, StageVerdict, Verdict
from perfagent.domain.window import Window
from perfagent.judge import Measured, criteria_for, decide
from perfagent.judge.measure import logs, measure, measure_stretches
from perfagent.judge.noise import quiet
from perfagent.judge.stage import again, lost_replicas, restarted_replicas
from support.noise import constant_windows, paired_windows
from support.noisy_fleets import Noise, fleet

LATENCY = criteria_for(None, frozenset({Metric.TTFT, Metric.ITL, Metric.E2E, Metric.GENERATION_TOKENS}))
ALL = criteria_for(None, frozenset({each.metric for each in LATENCY} | {Metric.FAILED}))
SPANS = [(60.0 * k, 60.0 * k + 60) for k in range(10)]
EVERYWHERE = dict.fromkeys((Metric.TTFT, Metric.ITL, Metric.E2E), 2.0)
FOURFOLD = dict.fromkeys(EVERYWHERE, 4.0)
PAST_S, STRETCH_S = 3600.0, 300.0
LOOK = Look(1, 3, 3)


def measured(windows: dict[str, Window], canaries: list[str], *, past: dict[str, Window] | None = None) -> Measured:
    """Both arms, with the past of all replicas where one is given."""
    baseline = [window for target, window in windows.items() if target not in canaries]
    canary = [window for target, window in windows.items() if target in canaries]
    others, same = ([(past or {})[window.target] for window in arm if past] for arm in (baseline, canary))
    metrics = [criterion.metric for criterion in ALL]
    return Measured(
        measure(baseline, canary, metrics, SPANS),
        measure_stretches(others, same, metrics, -PAST_S, STRETCH_S) if past else (),
        quiet(logs(list(past.values()), metrics, -PAST_S, STRETCH_S), STRETCH_S) if past else quiet({}, STRETCH_S),
        lost_replicas(baseline, canary, SPANS, canaries),
        restarted_replicas(baseline, canary, SPANS),
    )


def judged(windows: dict[str, Window], canaries: list[str], rule: StageRule) -> StageVerdict:
    """Without a past: what the prior says of the noise."""
    return decide(measured(windows, canaries), ALL, rule=rule, paired=True, look=LOOK)


def bare(windows: tuple[PairedWindow, ...], rule: StageRule, *, paired: bool = True) -> StageVerdict:
    return decide(Measured(windows, () if paired else windows), LATENCY, rule=rule, paired=paired, look=LOOK)


@pytest.mark.parametrize("seed", range(3))
def test_a_doubled_latency_on_one_of_ten_replicas_is_rolled_back(seed: int) -> None:
    verdict = judged(fleet(seed, slower={"r00": EVERYWHERE}), ["r00"], StageRule.NO_HARM)
    assert verdict.verdict is Verdict.ROLL_BACK
    assert any(reason.startswith("ttft_s:") for reason in verdict.reasons)


@pytest.mark.parametrize("rule", [StageRule.NO_HARM, StageRule.NOT_INFERIOR])
def test_a_good_fleet_is_promoted_at_every_share(rule: StageRule) -> None:
    canaries = ["r00"] if rule is StageRule.NO_HARM else ["r00", "r01", "r02", "r03", "r04"]
    calm = Noise(burst=0.03)
    seen = measured(fleet(1, noise=calm), canaries, past=fleet(2, noise=calm, minutes=60, start_s=-PAST_S))
    verdict = decide(seen, ALL, rule=rule, paired=True, look=LOOK)
    assert verdict.verdict is Verdict.PROMOTE
    assert len(verdict.reasons) == len(ALL)


def test_the_same_replicas_are_compared_with_their_own_past() -> None:
    ids = ["r00", "r01", "r02"]
    calm = Noise(swing=0.05, burst=0.03)
    past = fleet(1, replicas=3, noise=calm, minutes=60, start_s=-PAST_S)
    metrics = [criterion.metric for criterion in ALL]
    before = measure_stretches(list(past.values()), (), metrics, -PAST_S, STRETCH_S)
    noise = quiet(logs(list(past.values()), metrics, -PAST_S, STRETCH_S), STRETCH_S)
    for slower, expected in (({}, Verdict.PROMOTE), (dict.fromkeys(ids, FOURFOLD), Verdict.ROLL_BACK)):
        now = measure((), list(fleet(1, replicas=3, noise=calm, slower=slower).values()), metrics, SPANS)
        verdict = decide(Measured(now, before, noise), ALL, rule=StageRule.WATCH, paired=False, look=LOOK)
        assert verdict.verdict is expected
        assert again(verdict) == verdict


@given(st.sampled_from([StageRule.NO_HARM, StageRule.NOT_INFERIOR]), st.integers(0, 10_000))
def test_arms_that_behave_exactly_alike_are_never_rolled_back(rule: StageRule, seed: int) -> None:
    twins = tuple(replace(w, canary=w.baseline) for w in paired_windows(seed, canaries=50, baselines=50))
    assert bare(twins, rule).verdict is Verdict.PROMOTE


@given(st.sampled_from(StageRule), st.booleans(), st.integers(0, 10_000), st.data())
def test_missing_data_never_promotes(rule: StageRule, paired: bool, seed: int, data: st.DataObject) -> None:
    lost = data.draw(st.sampled_from([criterion.metric for criterion in LATENCY]))
    arm = data.draw(st.sampled_from(["baseline", "canary"]))
    windows = tuple(
        replace(w, **{arm: None}) if w.metric is lost else w  # type: ignore[arg-type]
        for w in paired_windows(seed, canaries=5, baselines=5)
    )
    assert bare(windows, rule, paired=paired).verdict is not Verdict.PROMOTE


@pytest.mark.parametrize("rule", StageRule)
@pytest.mark.parametrize("paired", [True, False])
def test_no_data_at_all_holds(rule: StageRule, paired: bool) -> None:
    verdict = decide(Measured(()), ALL, rule=rule, paired=paired)
    assert verdict.verdict is Verdict.HOLD
    assert len(verdict.reasons) == len(ALL)


def test_no_criteria_hold() -> None:
    verdict = decide(Measured(()), (), rule=StageRule.NO_HARM, paired=True)
    assert verdict.reasons == ("there is nothing to judge by",)


def test_a_verdict_is_recomputed_from_the_figures_that_it_kept() -> None:
    past = fleet(4, minutes=60, start_s=-PAST_S)
    for slower in ({}, {"r00": EVERYWHERE}):
        seen = measured(fleet(3, slower=slower), ["r00"], past=past)
        verdict = decide(seen, ALL, rule=StageRule.NO_HARM, paired=True, look=LOOK)
        assert again(verdict) == verdict
        assert again(replace(verdict, judgements=verdict.judgements, reasons=(), verdict=Verdict.HOLD)) == verdict


def test_a_verdict_of_a_release_that_kept_less_cannot_be_recomputed() -> None:
    with pytest.raises(InvalidInput, match="did not keep"):
        again(StageVerdict(Verdict.HOLD, (), (), ()))


def test_what_only_looks_worse_than_accepted_is_held_at_the_first_share() -> None:
    windows = tuple(
        replace(w, canary=(w.canary or 0) * (2.2 if k % 2 else 0.65))
        for k, w in enumerate(constant_windows([(Metric.TTFT, 1.0, 1.0)], replicas=(9, 1)))
    )
    verdict = decide(Measured(windows), LATENCY[:1], rule=StageRule.NO_HARM, paired=True)
    assert verdict.verdict is Verdict.HOLD
    assert "neither certainly" in verdict.reasons[0]


def test_what_is_not_proven_to_be_within_the_margin_is_held_at_the_half() -> None:
    windows = constant_windows([(Metric.TTFT, 1.0, 1.0)], replicas=(1, 1))
    for rule, expected in ((StageRule.NO_HARM, Verdict.PROMOTE), (StageRule.NOT_INFERIOR, Verdict.HOLD)):
        assert decide(Measured(windows), LATENCY[:1], rule=rule, paired=True).verdict is expected


@pytest.mark.parametrize(
    ("ratio", "replicas", "expected"),
    [
        (1.0, (9, 1), Verdict.PROMOTE),
        (1.1, (9, 1), Verdict.HOLD),
        (1.1, (30, 10), Verdict.PROMOTE),
        (0.8, (9, 1), Verdict.PROMOTE),
    ],
)
def test_beyond_a_small_share_goes_what_is_likely_within_its_margin(
    ratio: float, replicas: tuple[int, int], expected: Verdict
) -> None:
    windows = constant_windows([(Metric.TTFT, 1.0, ratio)], replicas=replicas)
    verdict = decide(Measured(windows), LATENCY[:1], rule=StageRule.NO_HARM, paired=True, look=LOOK)
    assert verdict.verdict is expected
    assert again(verdict) == verdict


def test_more_failing_requests_roll_back_though_latencies_are_fine() -> None:
    verdict = judged(fleet(4, failing={"r00": 0.05}), ["r00"], StageRule.NO_HARM)
    assert verdict.verdict is Verdict.ROLL_BACK
    assert all(reason.startswith("requests_failed") for reason in verdict.reasons)


def restarted(window: Window, at_s: float) -> Window:
    born = [replace(s, started_at_s=at_s if s.at_s >= at_s else 0.0) for s in window.snapshots]
    return Window(tuple(born))


def test_a_canary_that_restarts_while_it_is_observed_is_not_promoted() -> None:
    windows = fleet(5)
    windows["r00"] = restarted(windows["r00"], 300.0)
    verdict = judged(windows, ["r00"], StageRule.NO_HARM)
    assert verdict.verdict is Verdict.HOLD
    assert verdict.reasons[0] == "r00 restarted while it was observed"
    assert again(verdict) == verdict


def watched(target: str, *, restarts: bool = False) -> Window:
    """A replica over half an hour."""
    seen = [Snapshot(target, "vllm", at_s, started_at_s=900.0 if restarts and at_s else 0.0) for at_s in (0.0, 1800.0)]
    return Window(tuple(seen))


def test_one_restart_of_many_canaries_where_others_restart_as_well_is_what_chance_makes() -> None:
    one, another, other = (watched(target, restarts=True) for target in ("a", "b", "z"))
    many, spans = [watched(f"r{k}") for k in range(20)], [(0.0, 1800.0)]
    assert restarted_replicas([other, *many], [one, *many], spans) == ()
    assert restarted_replicas(many, [one], spans) == ("a restarted while it was observed",)
    assert len(restarted_replicas([other, *many], [one, another, *many], spans)) == 2
    starting = ["c"]
    assert restarted_replicas([other, *many], many, spans, starting) == ()
    assert restarted_replicas(many, [], spans, starting) == ("c is being started again",)


def test_a_baseline_replica_that_restarts_is_no_harm() -> None:
    windows = fleet(1)
    windows["r09"] = restarted(windows["r09"], 300.0)
    assert "restarted" not in " ".join(judged(windows, ["r00"], StageRule.NO_HARM).reasons)


def test_a_canary_that_vanishes_while_others_are_seen_is_rolled_back() -> None:
    windows = fleet(5)
    early: list[Snapshot] = [s for s in windows["r00"].snapshots if s.at_s < 300]
    verdict = judged({**windows, "r00": Window(tuple(early))}, ["r00"], StageRule.NO_HARM)
    assert "r00 vanished while it was observed" in verdict.reasons
    del windows["r00"]
    never_seen = lost_replicas(list(windows.values()), [], SPANS, ["r00"])
    assert never_seen == ("r00 vanished while it was observed",)


def test_when_nobody_is_seen_the_scraper_is_at_fault_and_the_stage_is_held() -> None:
    early = {target: Window(tuple(s for s in window.snapshots if s.at_s < 200)) for target, window in fleet(5).items()}
    assert judged(early, ["r00"], StageRule.NO_HARM).verdict is Verdict.HOLD
