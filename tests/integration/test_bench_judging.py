from dataclasses import replace

import numpy as np
import pytest

from perfagent.bench.fleets import EFFECTS, Effect, Fleet, Restless
from perfagent.bench.incumbents import RULES, watch
from perfagent.bench.judging import CELLS, Cell, Ending, play, play_all
from perfagent.bench.rates import rates
from perfagent.domain.metric import Metric
from perfagent.workflows.model import Phase

QUIET = Restless(offset=0.0, swing=0.0, burst=0.0, requests_per_min=2000.0, known_min=60)
EVERYBODY = [0, 1, 2, 3]


def cell(design: str, effect: str, noise: str = "offsets of 5 %") -> Cell:
    return next(each for each in CELLS if (each.design.name, each.effect, each.noise) == (design, effect, noise))


def drawn(**factors: float) -> Fleet:
    return Fleet(np.random.default_rng(1), 4, QUIET, Effect(**factors), minutes=60)


def test_a_change_lengthens_what_it_says_on_the_replicas_that_have_it_and_from_then_on() -> None:
    fleet = drawn(ttft=1.2)
    fleet.change([0, 1], 60)
    for metric, factor in ((Metric.TTFT, 1.2), (Metric.ITL, 1.0), (Metric.GENERATION_TOKENS, 1.0)):
        means, _ = fleet.figures(metric, slice(0, 120), EVERYBODY)
        before, after = means[:60].mean(axis=0), means[60:].mean(axis=0)
        assert after / before == pytest.approx([factor, factor, 1.0, 1.0], rel=0.02)


def test_replicas_differ_for_good_and_by_as_much_as_is_said() -> None:
    fleet = Fleet(np.random.default_rng(2), 2000, replace(QUIET, offset=0.1), Effect(), minutes=1)
    means, _ = fleet.figures(Metric.TTFT, slice(0, 61), list(range(2000)))
    assert np.log(means.mean(axis=0)).std() == pytest.approx(0.1, rel=0.1)


def test_a_restart_keeps_as_much_of_the_difference_as_is_said() -> None:
    fleet = Fleet(np.random.default_rng(3), 4000, replace(QUIET, offset=0.1, redrawn=0.16), Effect(), minutes=60)
    before = np.log(fleet.figures(Metric.TTFT, slice(0, 60), list(range(4000)))[0].mean(axis=0))
    fleet.change(list(range(4000)), 60)
    after = np.log(fleet.figures(Metric.TTFT, slice(60, 120), list(range(4000)))[0].mean(axis=0))
    assert np.corrcoef(before, after)[0, 1] == pytest.approx(np.sqrt(1 - 0.16), abs=0.03)
    assert after.std() == pytest.approx(before.std(), rel=0.05)


def test_a_doubled_latency_fails_every_rule_and_an_undisturbed_one_those_that_look_at_size() -> None:
    for factor, expected in ((3.0, True), (1.0, False)):
        fleet = drawn(ttft=factor)
        fleet.change([0], 60)
        seen = watch(np.random.default_rng(4), fleet, 1, 61)
        by_size = [name for name in RULES if not name.startswith("pooled")]
        assert {RULES[name](seen) for name in by_size} == {expected}
        assert all(RULES[name](seen) for name in RULES) or not expected


def test_a_fleet_of_one_has_no_baseline_and_only_a_ceiling_can_fail() -> None:
    fleet = Fleet(np.random.default_rng(5), 1, QUIET, Effect(ttft=3.0), minutes=60)
    fleet.change([0], 60)
    seen = watch(np.random.default_rng(6), fleet, 1, 61)
    assert {name for name, rule in RULES.items() if rule(seen)} == {
        "p95 ceiling, first failure",
        "p95 ceiling, 3 failures",
    }


@pytest.mark.parametrize(("design", "stages"), [("1/10", 10), ("1/3", 10), ("5/10", 50)])
def test_a_change_that_harms_badly_ends_at_the_first_stage_by_the_products_own_path(design: str, stages: int) -> None:
    ending = play(0, 1, cell(design, "both +50 %"))
    assert (ending.phase, ending.stage) == (Phase.ROLLED_BACK, stages)
    assert ending.minutes in (11.0, 21.0, 31.0)
    assert ending.incumbents.keys() == RULES.keys()


def test_the_same_seed_gives_the_same_endings() -> None:
    cells = [cell("1/4", effect) for effect in EFFECTS]
    once, again = (list(play_all(7, 1, cells, workers=1)) for _ in range(2))
    assert once == again
    assert once != list(play_all(8, 1, cells, workers=1))


def test_rates_count_endings_and_leave_those_who_saw_nothing_out() -> None:
    mine = cell("1/10", "none")
    endings = [
        Ending(mine, Phase.ROLLED_BACK, 11.0, 10, "", dict.fromkeys(RULES, True)),
        Ending(mine, Phase.HELD, 31.0, 10, "", dict.fromkeys(RULES, False)),
        Ending(mine, Phase.COMPLETED, 33.0, 100, "", {}),
    ]
    (told,) = rates(endings)["cells"]
    assert [told[name]["value"] for name in ("rolled_back", "promoted", "held")] == pytest.approx([1 / 3] * 3)
    assert told["minutes_median"] == 22.0
    assert {each["value"] for each in told["incumbents_rolled_back"].values()} == {0.5}
