from dataclasses import replace
from math import log

import numpy as np
import pytest

from perfagent.domain.metric import Metric
from perfagent.domain.verdict import NO_PAST, Criterion, Look, Outlook, Quiet, Role, StageRule
from perfagent.judge.compare import REDRAWN
from perfagent.judge.noise import noise_of
from perfagent.judge.preflight import outlook

CRITERIA = (
    Criterion(Metric.TTFT, Role.PRIMARY, 0.15),
    Criterion(Metric.ITL, Role.GUARDRAIL, 0.15),
    Criterion(Metric.FAILED, Role.GUARDRAIL, 0.0),
)


def past(fast: float, *, permanent: float = 0.03, replicas: int = 10) -> Quiet:
    rng = np.random.default_rng(1)
    drawn = rng.normal(0, permanent, (replicas, 1)) + rng.normal(0, fast, (replicas, 72))
    return Quiet(tuple(noise_of(each.metric, drawn, 300.0) for each in CRITERIA[:2]), replicas, 72, 300.0)


def told(
    quiet: Quiet = NO_PAST,
    *,
    rule: StageRule = StageRule.NOT_INFERIOR,
    arms: tuple[int, int] = (5, 5),
    criteria: tuple[Criterion, ...] = CRITERIA,
    looks: int = 3,
) -> Outlook:
    return outlook(
        criteria,
        quiet,
        percent=50,
        rule=rule,
        replicas=arms,
        observed_s=600.0,
        past_s=3600.0,
        warm_up_s=60.0,
        look=Look(1, looks, 3),
    )


def test_it_takes_from_one_look_to_all_of_them() -> None:
    assert (told().shortest_s, told().longest_s) == (660.0, 1860.0)


def test_a_noisier_fleet_is_held_more_often_and_hides_more_harm() -> None:
    calm, restless = told(past(0.01)), told(past(0.2))
    assert calm.hold_chance < 0.01
    assert restless.hold_chance > 0.5
    assert calm.detectable < restless.detectable


def test_more_replicas_tell_more() -> None:
    few, many = (told(past(0.05), arms=arms) for arms in ((1, 1), (20, 20)))
    assert many.hold_chance < few.hold_chance
    assert many.detectable < few.detectable


def test_a_small_share_is_held_less_often_than_where_proof_is_needed_and_more_than_where_looks_will_do() -> None:
    rules = (StageRule.WATCH, StageRule.NO_HARM, StageRule.NOT_INFERIOR)
    watch, likely, proof = (told(past(0.1), rule=rule, arms=(1, 9)) for rule in rules)
    assert watch.hold_chance < 0.1 < likely.hold_chance < 0.5 < proof.hold_chance
    assert watch.detectable == likely.detectable == proof.detectable


def test_with_nobody_left_only_what_lies_beyond_the_margin_is_found() -> None:
    assert told(past(0.01), arms=(5, 0)).detectable > 0.15 > told(past(0.01), arms=(5, 5)).detectable


def test_without_a_past_it_says_that_it_assumes() -> None:
    assert told().assumed
    assert not told(past(0.1)).assumed


def test_the_metric_that_holds_most_is_named() -> None:
    assert told(replace(past(0.05), noises=(*past(0.001).noises[:1], *past(0.3).noises[1:]))).weakest is Metric.ITL


@pytest.mark.parametrize("fast", [0.02, 0.06])
def test_the_chance_of_a_hold_is_that_of_drawn_estimates(fast: float) -> None:
    """One metric and one look that only has to look good: how often an estimate around no difference does not."""
    quiet = past(fast)
    alone = told(quiet, rule=StageRule.WATCH, arms=(1, 1), criteria=CRITERIA[:1], looks=1)
    noise, rng, fleets = quiet.noises[0], np.random.default_rng(2), 40_000
    kept = 1 - REDRAWN / 2
    offset = rng.normal(0, noise.permanent_sd, (fleets, 2))
    later = offset * np.array([kept, 1.0])
    later[:, 0] += np.sqrt(1 - kept**2) * rng.normal(0, noise.permanent_sd, fleets)
    before = offset + rng.normal(0, noise.mood_sd, (fleets, 2))
    extra = noise.fast_sd * np.sqrt(1 / 2 - 1 / 6)
    after = later + rng.normal(0, noise.mood_sd, (fleets, 2)) + rng.normal(0, extra, (fleets, 2))
    trust = noise.permanent_sd**2 / (noise.permanent_sd**2 + noise.mood_sd**2)
    found = (after - trust * before) @ np.array([1.0, -1.0])
    assert alone.hold_chance == pytest.approx(float(np.mean(found > log(1.15))), abs=0.02)
