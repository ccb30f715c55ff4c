from dataclasses import replace
from functools import cache
from math import exp, log

import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.histogram import Histogram
from perfagent.domain.machine import CPU, Machine, ModelShape
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Snapshot
from perfagent.domain.window import Window
from perfagent.emulator.model import step_time
from perfagent.forecast.demand import demand
from perfagent.forecast.fitted import SOME_FRONT_END, Fitted, expectation, fitted
from perfagent.forecast.server import known as server_known
from perfagent.twin.belief import Belief
from perfagent.twin.data_types import DataTypes
from support import fleets
from support.watched import EMULATED, L40S, chats, config, watch, window

SLOW = 1.3
TRUE_BASE_S = step_time(EMULATED.model.shape, EMULATED.gpu, 1, DataTypes()).base_s
SEATS = "--max-num-seqs=6"


def fit_of(seen: Window, on: Machine = L40S, before: Belief | None = None) -> Fitted:
    return fitted(seen, server_known(seen, config(SEATS), fleets.launch(EMULATED, SEATS), on), demand(seen), before)


@cache
def busy() -> Window:
    return window(SEATS, rate_per_s=4.0, slowness=SLOW)


@cache
def quiet() -> Window:
    """Seldom more than two at work, and never one who waits."""
    return window(SEATS, rate_per_s=0.5, slowness=SLOW)


def later(of: Snapshot, metric: Metric, seconds: float) -> Snapshot:
    """Each observation that much longer."""
    moved = {
        labels: Histogram(each.edges, each.cumulative, each.total + seconds * each.count)
        for labels, each in of.histograms.get(metric, {}).items()
    }
    return replace(of, histograms={**of.histograms, metric: moved} if moved else of.histograms)


@pytest.mark.parametrize("on", [L40S, Machine()])
def test_the_base_of_a_server_is_found_in_its_counters_with_and_without_a_data_sheet(on: Machine) -> None:
    found = fit_of(busy(), on)
    base_s = found.fit.belief.step_time.base_s
    assert base_s == pytest.approx(SLOW * TRUE_BASE_S, rel=0.06)
    assert "base_s" in found.fit.pinned
    assert found.fit.residual_ratio < 0.03


def test_a_server_that_is_often_idle_still_tells_its_base_where_idle_time_can_be_told() -> None:
    assert fit_of(quiet()).fit.belief.step_time.base_s == pytest.approx(SLOW * TRUE_BASE_S, rel=0.06)


def test_a_server_that_may_have_been_idle_all_the_time_is_refused() -> None:
    without = [
        replace(s, histograms={m: h for m, h in s.histograms.items() if m != Metric.ITL}) for s in quiet().snapshots
    ]
    with pytest.raises(InvalidInput, match="never busy enough"):
        fit_of(Window(tuple(without)))


def test_a_server_whose_time_the_twin_does_not_explain_is_refused() -> None:
    of = fleets.fleet(SEATS, of=EMULATED, workload=chats(4.0))
    hindered = watch(of, lambda turn: of.replicas[0].slow_down((1.0, 2.0, 4.0)[turn % 3]))
    with pytest.raises(InvalidInput, match=r"explains this server's time only to \d\d%"):
        fit_of(hindered)


def test_what_was_believed_before_makes_it_surer() -> None:
    first = fit_of(busy())
    again = fit_of(busy(), before=first.fit.belief)
    assert all(again.fit.belief.log_sd[name] <= sd * 1.001 for name, sd in first.fit.belief.log_sd.items())
    assert again.fit.belief.log_sd["base_s"] < first.fit.belief.log_sd["base_s"]


# The front end


def test_a_front_end_that_nobody_waits_behind_is_told_by_the_engine_s_timers() -> None:
    """An emulated server has none, so it is what the timers are moved by."""
    found = fit_of(Window(tuple(later(each, Metric.TTFT, 0.25) for each in quiet().snapshots)))
    assert found.front_end.seconds == pytest.approx(0.25, abs=0.012)  # a third of a step
    assert 0.05 <= found.front_end.log_sd < 0.3
    assert not found.notes


def test_where_a_queue_hides_the_front_end_some_milliseconds_are_assumed_and_said() -> None:
    found = fit_of(busy())
    assert (found.front_end.seconds, found.front_end.log_sd) == SOME_FRONT_END
    assert "outside the scheduler cannot be told" in found.notes[0]


# What to expect


SHAPE = ModelShape(params=8.03e9, layers=32, kv_heads=8, head_dim=128, width=4096)


def test_data_sheet_and_shape_tell_the_base_and_two_gpus_halve_its_reading() -> None:
    one, two = (expectation(Machine("l40s", gpus, SHAPE), DataTypes()) for gpus in (1, 2))
    assert one.step_time.base_s == pytest.approx(2 * 8.03e9 / (0.8 * 0.864e12) + 1e-3)
    assert two.step_time.base_s - 1e-3 == pytest.approx((one.step_time.base_s - 1e-3) / 2)
    assert one.log_sd["base_s"] == pytest.approx(0.2)


def test_weights_and_cache_are_read_in_the_types_that_are_set() -> None:
    full, small = (expectation(Machine("l40s", 1, SHAPE), types) for types in (DataTypes(), DataTypes(1.0, 1.0)))
    assert small.step_time.base_s - 1e-3 == pytest.approx((full.step_time.base_s - 1e-3) / 2)
    assert small.step_time.per_context_token_s == pytest.approx(full.step_time.per_context_token_s / 2)
    mixed = expectation(Machine("l40s", 1, replace(SHAPE, weight_bytes=1.0)), DataTypes(kv_bytes=1.0))
    assert mixed.step_time == small.step_time  # a checkpoint in 8 bits


@pytest.mark.parametrize("on", [Machine(), Machine("l40s"), Machine(None, 1, SHAPE), Machine(CPU, 1, SHAPE)])
def test_what_is_not_known_makes_it_vague(on: Machine) -> None:
    sure = expectation(Machine("l40s", 1, SHAPE), DataTypes()).log_sd["base_s"]
    assert expectation(on, DataTypes()).log_sd["base_s"] > 2.5 * sure


def test_processor_cores_are_expected_to_be_slow_to_within_a_factor() -> None:
    guess = expectation(Machine(CPU, 1, SHAPE), DataTypes())
    assert log(guess.step_time.base_s) == pytest.approx(log(1.0), abs=log(2))
    assert exp(guess.log_sd["base_s"]) > 1.5
