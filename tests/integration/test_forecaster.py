from collections.abc import Callable
from dataclasses import replace
from functools import cache
from statistics import pstdev

import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Change, Knob, change_of
from perfagent.domain.window import Window
from perfagent.forecast import Case, Figure, Forecaster, Load, Predicted, Prediction, case
from perfagent.forecast.demand import demand
from perfagent.forecast.measured import measured
from perfagent.forecast.predict import INTERPOLATED, LONGEST_BEFORE_S, WAITED
from support import fleets
from support.watched import EMULATED, L40S, config, known, window

SLOW = 1.3
"""So much longer than a data sheet lets expect do the emulated servers' steps take; the forecast is not told."""
FEW = 6
"""Draws, where the question is not how sure an answer is."""


def seats(many: int) -> Change:
    return change_of({Knob.MAX_NUM_SEQS: many})


def server(many: int, rate_per_s: float = 4.0) -> Case:
    return known(f"--max-num-seqs={many}", rate_per_s=rate_per_s, slowness=SLOW)


@cache
def asker(many: int, rate_per_s: float = 4.0, seed: int = 0) -> Forecaster:
    return Forecaster(server(many, rate_per_s), seed)


@cache
def pinned(after: int, draws: int = FEW, seed: int = 0) -> Prediction:
    """With so many seats on a server whose four are always taken, while others queue."""
    return asker(4, seed=seed).predict(seats(after), draws=draws)


@cache
def roomy() -> Prediction:
    """No change of a server that has room."""
    return asker(64).predict((), draws=FEW)


def says(value: float, low: float, high: float, now: float | None = 1.0, elasticity: float | None = 1.0) -> Predicted:
    return Predicted.of(Figure.E2E_MEAN, value, (low, high), now, value, elasticity)


def at_work(seen: Window) -> Window:
    """But for its beginning, in which the server was empty."""
    late = seen.between(seen.start_s + 12, seen.end_s)
    assert late is not None
    return late


# What an answer means


@pytest.mark.parametrize(
    ("told", "only"),
    [
        (says(2.0, 1.5, 2.5), False),
        (says(2.0, 1.0, 3.1), True),  # wider than a factor of three
        (says(2.0, 1.0, 3.0), False),
        (says(2.0, 1.5, 2.5, elasticity=4.2), True),
        (says(2.0, 1.5, 2.5, elasticity=-4.2), True),
        (says(2.0, 1.5, 2.5, elasticity=None), False),
        (says(0.0, 0.0, 0.0, elasticity=None), False),
    ],
)
def test_a_steep_or_wide_answer_is_a_direction_only(told: Predicted, only: bool) -> None:
    assert told.direction_only is only


@pytest.mark.parametrize(
    ("told", "direction"),
    [
        (says(2.0, 1.5, 2.5), "up"),
        (says(0.5, 0.4, 0.9), "down"),
        (says(1.1, 0.9, 1.5), "either"),
        (says(2.0, 1.0, 2.5), "either"),
        (says(2.0, 1.5, 2.5, now=None), "unknown"),
    ],
)
def test_a_direction_is_told_where_the_interval_lies_on_one_side_of_today(told: Predicted, direction: str) -> None:
    assert told.direction == direction


def test_a_quantile_is_held_against_what_the_twin_says_of_today() -> None:
    told = Predicted.of(Figure.ITL_P95, 0.11, (0.10, 0.12), 0.21, 0.11, 1.0)  # 0.21 is the middle of a wide bucket
    assert told.direction == "either"


def test_hardly_anybody_waiting_is_no_critical_load() -> None:
    assert not Predicted.of(Figure.WAITING, 0.1, (0.0, 0.9), 0.0, 0.1, None).direction_only
    assert Predicted.of(Figure.WAITING, 5.0, (0.0, 300.0), 3.0, 3.0, 1.0).direction_only


@pytest.mark.parametrize("found", [lambda: pinned(4), lambda: pinned(12), roomy])
def test_the_interval_holds_the_median(found: Callable[[], Prediction]) -> None:
    figures = found().figures
    assert set(figures) == set(Figure)
    for figure, told in figures.items():
        assert told.low <= told.value <= told.high, figure
    assert figures[Figure.KV_USAGE].high <= 1.0
    assert figures[Figure.ITL_MEAN].low < figures[Figure.ITL_MEAN].high


# What a change does


def test_more_seats_on_a_server_pinned_at_its_seats_bring_first_tokens_sooner() -> None:
    by_seats = [pinned(many).figures for many in (2, 4, 6, 12)]
    ttft = [figures[Figure.TTFT_MEAN].value for figures in by_seats]
    assert ttft == sorted(ttft, reverse=True)
    assert ttft[-1] < ttft[1] / 10
    assert by_seats[-1][Figure.TTFT_MEAN].direction == "down"
    throughput = [figures[Figure.THROUGHPUT].value for figures in by_seats]
    assert throughput == sorted(throughput)
    assert throughput[0] == pytest.approx(throughput[1] / 2, rel=0.05)  # half the seats serve half


def test_today_is_measured_and_played() -> None:
    figures = pinned(12).figures
    now = measured(server(4).window, server(4).demand.span)
    for figure in (Figure.TTFT_MEAN, Figure.ITL_MEAN, Figure.THROUGHPUT, Figure.RUNNING, Figure.WAITING):
        told = figures[figure]
        assert told.now == now[figure]
        assert told.twin_now == pytest.approx(now[figure], rel=0.1)


def test_today_is_all_that_was_watched_and_not_only_what_is_played() -> None:
    seen, flags = at_work(window("--max-num-seqs=64", rate_per_s=8.0, slowness=SLOW)), ("--max-num-seqs=64",)
    of = case(seen, config(*flags), fleets.launch(EMULATED, *flags), L40S)
    assert of.window.span_s < seen.span_s
    assert of.now == measured(seen, (0.0, seen.span_s))


def test_a_queue_that_grows_has_no_size_and_what_is_served_meanwhile_has() -> None:
    """How long waits become hangs on how long one looks; one that was empty is shown for as long as it was watched."""
    whole = server(6)
    late = at_work(whole.window)
    overloaded = Forecaster(replace(whole, window=late, demand=demand(late))).predict(seats(2), draws=FEW).figures
    assert all(overloaded[figure].direction_only for figure in WAITED)
    assert not overloaded[Figure.THROUGHPUT].direction_only
    assert not pinned(2).figures[Figure.WAITING].direction_only


def test_without_a_change_today_is_what_comes() -> None:
    """As the server tells it, and where it tells only a bucket, as the twin does."""
    for figure, told in pinned(4).figures.items():
        assert told.twin_now is not None
        today = told.twin_now if figure in INTERPOLATED or told.now is None else told.now
        assert told.low <= today <= told.high, figure
        assert told.value == pytest.approx(today, rel=0.1), figure


def test_a_saturated_server_s_throughput_falls_as_its_steps_grow_and_a_roomy_one_s_does_not() -> None:
    throughput, waiting = (pinned(4).figures[figure] for figure in (Figure.THROUGHPUT, Figure.WAITING))
    assert throughput.elasticity == pytest.approx(-1, abs=0.1)
    assert waiting.elasticity is not None
    assert waiting.elasticity > 0.5
    spare = roomy().figures[Figure.THROUGHPUT].elasticity
    assert spare == pytest.approx(0, abs=0.15)


def test_near_a_critical_load_the_wait_is_told_as_a_direction_only() -> None:
    critical = asker(4, rate_per_s=1.7).predict((), draws=FEW).figures
    assert critical[Figure.WAITING].direction_only
    assert not critical[Figure.THROUGHPUT].direction_only


@pytest.mark.parametrize(("now", "then"), [(4, 2), (6, 12)])
def test_an_emulated_server_with_another_seat_limit_does_what_was_predicted(now: int, then: int) -> None:
    found = asker(now).predict(seats(then), draws=30).figures
    true = measured(window(f"--max-num-seqs={then}", rate_per_s=4.0, slowness=SLOW), server(now).demand.span)
    for figure in (Figure.THROUGHPUT, Figure.ITL_MEAN, Figure.TTFT_MEAN, Figure.RUNNING, Figure.E2E_MEAN):
        assert found[figure].low <= true[figure] <= found[figure].high, figure


def test_a_server_short_of_cache_fills_it_and_no_more_than_that() -> None:
    flags = ("--num-gpu-blocks-override=160", "--max-model-len=2400")
    usage = Forecaster(known(*flags, rate_per_s=8.0)).predict((), draws=FEW).figures[Figure.KV_USAGE]
    assert usage.now is not None
    assert usage.now > 0.85
    assert usage.value == pytest.approx(usage.now, rel=0.1)
    assert usage.high <= 1.0


def test_twice_the_load_is_twice_the_throughput_where_there_is_room() -> None:
    twice = asker(64).predict((), Load(scale=2.0), draws=FEW).figures
    now = roomy().figures
    assert twice[Figure.THROUGHPUT].value == pytest.approx(2 * now[Figure.THROUGHPUT].value, rel=0.1)
    assert twice[Figure.THROUGHPUT].twin_now == now[Figure.THROUGHPUT].twin_now
    assert twice[Figure.ITL_MEAN].value > now[Figure.ITL_MEAN].value


def test_a_cache_in_8_bits_holds_twice_the_tokens_so_half_as_much_of_it_is_in_use() -> None:
    of = asker(64)
    found = of.predict(change_of({Knob.KV_CACHE_DTYPE: "fp8"}), draws=3)
    assert found.kv_tokens == 2 * found.kv_tokens_now
    usage = found.figures[Figure.KV_USAGE]
    assert usage.twin_now is not None
    assert usage.value == pytest.approx(usage.twin_now / 2, rel=0.2)


def test_a_change_with_which_the_server_would_not_start_is_refused() -> None:
    with pytest.raises(InvalidInput, match="would not start"):
        asker(4).predict(change_of({Knob.GPU_MEMORY_UTILIZATION: 0.2}), draws=1)


# Luck


def test_the_same_seed_gives_the_same_answer_and_another_one_another() -> None:
    again = Forecaster(server(4), 0).predict(seats(12), draws=2)
    assert again.figures == pinned(12, draws=2).figures
    assert again.figures != pinned(12, draws=2, seed=1).figures


def test_every_question_has_the_same_luck() -> None:
    """Fewer seats that are still more than anybody takes change nothing, draw by draw."""
    fewer = asker(64).predict(seats(60), draws=FEW)
    assert [run.figures for run in fewer.runs] == [run.figures for run in roomy().runs]
    assert all(one is other for one, other in zip(fewer.today, roomy().today, strict=True))
    assert len({run.figures[Figure.THROUGHPUT] for run in fewer.runs}) == FEW


def test_more_draws_converge() -> None:
    def spread(draws: int) -> float:
        answers = [asker(64, 0.5, seed).predict((), draws=draws) for seed in range(4)]
        return pstdev([found.figures[Figure.ITL_MEAN].value for found in answers])

    assert spread(6) < spread(1) / 1.5


def test_progress_rises_from_nothing_to_all() -> None:
    shares: list[float] = []
    asker(4).predict(seats(2), draws=3, progress=shares.append)
    assert shares == [0.0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0]


# Which part of the window counts


def test_a_server_that_was_empty_counts_from_when_it_has_filled_up() -> None:
    of = server(4)
    assert of.demand.present == 0.0
    assert of.demand.span == (of.demand.until_s / 4, of.demand.until_s)
    assert of.before_s == 0.0


def test_a_server_that_was_not_empty_counts_from_the_beginning_and_is_filled_before() -> None:
    whole = server(64)
    late = at_work(whole.window)
    of = Case(late, whole.server, demand(late), whole.fitted, whole.now)
    assert of.demand.present > 0
    assert of.demand.span[0] == 0.0
    lifetime_s = measured(late, of.demand.span)[Figure.E2E_MEAN]
    assert of.before_s == pytest.approx(3 * lifetime_s, rel=0.05)
    assert of.before_s < LONGEST_BEFORE_S
