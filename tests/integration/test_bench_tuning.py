"""The benchmark of tuning, on a few settings of a short problem."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from typer.testing import CliRunner

from perfagent.bench import tpe, trials, tuners, tuning
from perfagent.bench.tpe import by_tpe
from perfagent.bench.tuners import at_random, by_hand, by_rules, by_twin, doubling, in_one_shot
from perfagent.bench.tuning import GRID, Found, Method, Solved, better, measured, problem, solve
from perfagent.cli.main import app

FEW = ((4, 2048), (32, 2048), (256, 2048), (256, 8192))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "GRID", FEW)
    monkeypatch.setattr(tuners, "GRID", FEW)
    monkeypatch.setattr(tuners, "COARSE", FEW[:2])
    monkeypatch.setattr(tuners, "MOST_TRIALS", 2)
    monkeypatch.setattr(trials, "ROUNDS", ((1, 1),))
    monkeypatch.setattr(trials, "FEW", 1)
    monkeypatch.setattr(trials, "DRAWS", 2)
    monkeypatch.setattr(trials, "FEW_TOKENS", 2048)
    monkeypatch.setattr(trials, "MANY_TOKENS", 4096)
    monkeypatch.setattr(trials, "MANY_SEATS", 128)
    monkeypatch.setattr(tpe, "MOST_TRIALS", 2)
    monkeypatch.setattr(tuning, "LONG_RUNS", 1)
    monkeypatch.setattr(tuning, "TRIAL_S", 30.0)


def test_a_problem_is_the_same_every_time_and_another_one_is_another() -> None:
    assert problem(3) == problem(3)
    assert problem(3) != problem(4)
    assert all(objective.share == 0.95 for objective in problem(3).objectives)


def test_every_method_keeps_what_measured_best() -> None:
    methods: dict[str, Method] = {
        "twin": by_twin,
        "one shot": in_one_shot,
        "rules": by_rules,
        "random": at_random,
        "by hand": by_hand,
    }
    found = solve(1, seeds=2, methods=methods)
    assert [(one.method, one.seed) for one in found] == [(name, seed) for seed in (0, 1) for name in methods]
    for one in found:
        assert one.reached >= 0
        assert one.method not in ("random", "by hand") or one.reached <= 1.0  # others may leave the grid
        assert one.trials <= 2
    assert all(one.trials == 2 for one in found if one.method in ("random", "by hand"))
    assert all(one.trials <= 1 for one in found if one.method == "one shot")


def test_what_cannot_be_the_best_need_not_be_played_to_know_the_best() -> None:
    of = problem(2)
    values = [tuning.worth_of(of, setting) for setting in FEW]
    assert tuning.best_of(of) == max(value for value in values if value is not None)


def test_where_too_little_goes_on_for_the_twin_nothing_is_tried() -> None:
    idle = replace(problem(1), workload=replace(problem(1).workload, rate_per_s=((0.0, 0.05),)))
    assert by_twin(idle, 0) == Found((), idle.start)


def test_better_is_over_pairs_of_the_same_problem_and_luck() -> None:
    ahead = [Solved("a", n, s, 1, 0.9 + 0.001 * n) for n in range(10) for s in range(3)]
    behind = [Solved("b", n, s, 1, 0.5) for n in range(10) for s in range(3)]
    assert better([*ahead, *behind], "a", "b") < 0.01
    assert better([*ahead, *behind], "b", "a") > 0.99
    assert better([*behind, *(Solved("c", n, s, 1, 0.5) for n in range(10) for s in range(3))], "b", "c") == 1.0


def test_it_is_a_command() -> None:
    answer = CliRunner().invoke(app, ["bench", "tuning", "--problems", "1", "--seeds", "1", "-o", "json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    names = {"twin", "one shot", "rules", "doubling", "eight by hand", "random", "Optuna TPE"}
    assert set(told["methods"]) == names
    assert told["methods"]["twin"]["p_twin_is_better"] is None
    assert len(told["each"]) == len(names)


def test_doubling_goes_on_as_long_as_it_measures_better(monkeypatch: pytest.MonkeyPatch) -> None:
    seats = (4, 8, 16, 32)
    monkeypatch.setattr(tuners, "GRID", tuple((each, 2048) for each in seats))
    monkeypatch.setattr(tuners, "MOST_TRIALS", 8)
    of = replace(problem(1), start=(4, 2048))
    tried = [(4, 2048), *doubling(of, 0).tried]
    worth = [measured(of, setting, 0) for setting in tried]
    assert [setting[0] for setting in tried] == list(seats[: len(tried)])
    assert len(tried) > 1
    assert all(after > before for before, after in pairwise(worth[:-1]))
    assert len(tried) == len(seats) or worth[-1] <= worth[-2]


def test_optuna_keeps_to_the_grid() -> None:
    of = problem(2)
    tried = by_tpe(of, 0).tried
    assert tried == by_tpe(of, 0).tried
    assert len(tried) == 2
    assert all(setting in GRID or measured(of, setting, 0) == 0 for setting in tried)
