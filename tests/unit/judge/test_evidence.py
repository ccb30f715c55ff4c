import numpy as np
import pytest

from perfagent.domain.metric import Metric
from perfagent.domain.verdict import Criterion, Effectiveness, PairedWindow, Role
from perfagent.judge.evidence import ALIKE, SUDDEN_ALPHA, judge_share, restart_evidence, share_evidence

FAILED = Criterion(Metric.FAILED, Role.GUARDRAIL, 0.0)
CERTAIN = 1 / SUDDEN_ALPHA
DAY_S = 86_400.0


def shares(baseline: float | None, canary: float | None, requests: float = 1000.0) -> list[PairedWindow]:
    return [
        PairedWindow(60.0 * k, 60.0 * k + 60, Metric.FAILED, baseline, canary, requests, requests, 5, 5)
        for k in range(10)
    ]


def test_clearly_more_failures_are_harm() -> None:
    judgement = judge_share(FAILED, shares(0.001, 0.01))
    assert judgement.result is Effectiveness.WORSE
    assert judgement.reason.startswith("requests_failed: 1.00% of 10000 requests, baseline 0.10% of 10000; ")
    assert judgement.reason.endswith(" to 1 that this is no chance")


def test_a_few_failures_more_are_chance() -> None:
    assert judge_share(FAILED, shares(0.001, 0.0015)).result is Effectiveness.SAME
    assert judge_share(FAILED, shares(0.0, 0.0)).ratio is None


def test_fewer_failures_are_no_harm() -> None:
    assert judge_share(FAILED, shares(0.1, 0.0)).result is Effectiveness.SAME


def test_a_handful_of_requests_says_nothing_about_failures() -> None:
    assert judge_share(FAILED, shares(0.0, 0.5, requests=1.0)).result is Effectiveness.NO_DATA
    assert judge_share(FAILED, shares(None, 0.5)).result is Effectiveness.NO_DATA


@pytest.mark.parametrize(("canary", "expected"), [(0.001, Effectiveness.SAME), (0.01, Effectiveness.WORSE)])
def test_with_nobody_left_failures_are_held_against_the_past(canary: float, expected: Effectiveness) -> None:
    assert judge_share(FAILED, shares(None, canary), shares(0.001, None)).result is expected


def test_a_canary_that_fails_while_nobody_else_does_is_found_after_a_few_requests() -> None:
    assert share_evidence([(2.0, 100.0, 0.0, 900.0)]) < CERTAIN
    assert share_evidence([(6.0, 100.0, 0.0, 900.0)]) > CERTAIN


@pytest.mark.parametrize("odds", [1.0, ALIKE])
def test_looking_at_every_scrape_hardly_ever_stops_an_equal_canary(odds: float) -> None:
    rng, stopped, runs = np.random.default_rng(1), 0, 400
    for _ in range(runs):
        bad = rng.binomial(20, 0.02 * odds, 60)
        others = rng.binomial(180, 0.02, 60)
        steps = [(float(b), 20.0, float(o), 180.0) for b, o in zip(bad, others, strict=True)]
        stopped += any(share_evidence(steps[:seen]) >= 20 for seen in range(10, 61, 10))
    assert stopped <= 0.05 * runs


def test_steps_of_different_mix_are_not_mixed_up() -> None:
    """A canary that gets most requests while all fail, and few while none does, fails no more often than others."""
    steps = [(90.0, 900.0, 10.0, 100.0), (0.0, 100.0, 0.0, 900.0)] * 5
    assert share_evidence(steps) < 1
    assert share_evidence([tuple(map(sum, zip(*steps, strict=True)))]) > CERTAIN  # type: ignore[list-item]


def test_one_restart_is_no_proof_and_a_second_one_soon_after_is() -> None:
    assert restart_evidence(1, 900.0, 0, 9 * 900.0) < CERTAIN
    assert restart_evidence(2, 900.0, 0, 9 * 900.0) > CERTAIN


def test_restarts_that_befall_everybody_are_nobodys_harm() -> None:
    assert restart_evidence(2, DAY_S / 24, 18, 9 * DAY_S / 24) < CERTAIN


def test_servers_that_restart_once_a_week_are_hardly_ever_taken_for_broken() -> None:
    rng, runs, seconds = np.random.default_rng(2), 100_000, 10 * 1800.0
    restarts = rng.poisson(seconds / (7 * DAY_S), runs)
    certain = [count for count in range(1, 10) if restart_evidence(count, seconds, 0, 0.0) >= CERTAIN]
    assert np.isin(restarts, certain).mean() <= SUDDEN_ALPHA
