"""The benchmark of forecasts on emulated servers, on short windows."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from perfagent.bench import accuracy, emulated
from perfagent.bench.emulated import Answer, Growth, Trial, answer, draw, foretell, groups, refusals, watched
from perfagent.bench.scenario import Undrawable
from perfagent.cli.main import app
from perfagent.domain.knob import Knob
from perfagent.domain.metric import Metric
from perfagent.domain.window import increase
from perfagent.emulator.setup import prepare
from perfagent.forecast import Figure


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated, "SPAN_S", 90.0)
    monkeypatch.setattr(emulated, "WARM_S", 20.0)
    monkeypatch.setattr(emulated, "MOST_PER_S", 2.0)
    monkeypatch.setattr(accuracy, "DRAWS", 4)


def drawn(number: int, seed: int = 0) -> Trial:
    """The first of its draws that goes together."""
    for attempt in range(50):
        try:
            return draw(seed, number, attempt)
        except Undrawable:
            continue
    raise AssertionError("nothing goes together")


def test_the_same_seed_gives_the_same_answers() -> None:
    first, again, other = foretell(1, 0), foretell(1, 0), foretell(2, 0)
    assert first == again != other


def test_every_engine_is_drawn_as_often() -> None:
    engines = [drawn(number).machine.engine for number in range(6)]
    assert engines[:3] == engines[3:]
    assert len(set(engines)) == 3


def test_luck_is_fresh_after_the_change_and_the_load_is_what_was_asked_for() -> None:
    of = drawn(0)
    usual = replace(of, traffic=replace(of.traffic, rate_per_s=2.0, clients=None, evenness=1.0))
    first, again, other = (watched(usual, usual.launch, usual.setup, usual.traffic, luck=luck) for luck in (0, 0, 1))
    assert first == again != other
    thrice = watched(usual, usual.launch, usual.setup, usual.traffic.grown(3.0), luck=1)
    prompts, once = (increase(window, Metric.PROMPT_TOKENS) for window in (thrice, first))
    assert prompts is not None
    assert once is not None
    assert 1.8 < prompts / once < 5


def test_clients_that_wait_are_never_more_than_they_are() -> None:
    of = drawn(0)
    few = replace(of.traffic, clients=6, think_s=1.0)
    window = watched(of, of.launch, of.setup, few, luck=0)
    there = [
        sum(sum(snapshot.scalars[metric].values()) for metric in (Metric.RUNNING, Metric.WAITING))
        for snapshot in window.snapshots
    ]
    assert 0 < max(there) <= 6
    finished = increase(window, Metric.FINISHED)
    assert finished is not None
    assert finished > 0


def test_what_a_forecast_sees_does_not_tell_what_is_hidden() -> None:
    """Its belief before any measurement is the data sheet's, and the server is off it."""
    of = drawn(0)
    assert of.setup.step_time != prepare(of.machine, of.launch).step_time
    assert of.told.gpu in (None, of.machine.gpu.name)


def test_a_server_that_would_not_start_is_foretold_nothing() -> None:
    of = drawn(0)
    told = answer(0, replace(of, change=((Knob.GPU_MEMORY_UTILIZATION, 0.05),), growth=Growth()))
    assert not told.starts
    assert told.refused
    assert told.compared == ()


def test_figures_are_grouped_by_engine_and_refusals_by_reason() -> None:
    told = [one for number in range(3) if (one := foretell(0, number))]
    rows = accuracy.accuracy(groups(told))
    assert {row.figure for row in rows} <= {Figure.THROUGHPUT, Figure.ITL_MEAN, Figure.TTFT_MEAN, Figure.E2E_MEAN}
    everything, by_engine = (sum(row.forecasts for row in rows if ("," in row.group) is one) for one in (False, True))
    assert everything == by_engine == sum(len(one.compared) for one in told) > 0
    no = Answer(1, "vllm", (), Growth(), "only 7.5 of 9", True, ())
    assert refusals([no, replace(no, refused="only 8 of 10"), replace(no, refused=None)]) == {"only … of …": 2}


def test_it_is_a_command() -> None:
    told = CliRunner().invoke(app, ["bench", "twin", "--scenarios", "2", "--seed", "3", "-o", "json"])
    assert told.exit_code == 0, told.output
    data = json.loads(told.stdout)
    assert (data["servers"], data["seed"], len(data["each"]) + data["dropped"]) == (2, 3, 2)
    table = CliRunner().invoke(app, ["bench", "twin", "--scenarios", "1", "--seed", "3"])
    assert "emulated servers could be foretold" in table.output
