from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from perfagent.forecast.demand import Sample
from perfagent.forecast.play import LOOKS, Figure, Run, play
from perfagent.twin import Request, SchedulerRules, StepTime

TEN_MS = StepTime(
    base_s=0.01,
    per_token_s=0.0,
    ridge_tokens=1.0,
    per_sequence_s=0.0,
    per_context_token_s=0.0,
    per_pair_s=0.0,
    prompt_step_s=0.0,
)
"""Every step takes ten milliseconds, whatever is in it."""


def rules(seats: int = 8, blocks: int = 1000) -> SchedulerRules:
    return SchedulerRules(seats, 1000, blocks, async_scheduling=False, prefix_caching=False)


def request(name: str, at_s: float = 0.0, tokens: int = 5, prompt: int = 10) -> Request:
    return Request(name, at_s, prompt, tokens)


def played(*requests: Request, of: SchedulerRules | None = None, to_s: float = 1.0, front_end_s: float = 0.0) -> Run:
    return play(of or rules(), TEN_MS, Sample(list(requests), None), (0.0, to_s), front_end_s)


def clients(many: int, *, tokens: Callable[[int], int] = lambda _: 5, from_s: float = 0.0) -> Sample:
    """So many, and whoever has an answer asks again at once."""
    numbers = count()

    def made(at_s: float) -> Request:
        number = next(numbers)
        return request(f"c{number}", at_s, tokens(number))

    return Sample([made(from_s) for _ in range(many)], made)


def test_one_request_takes_a_step_per_token() -> None:
    figures = played(request("a")).figures
    assert figures[Figure.TTFT_MEAN] == figures[Figure.TTFT_P50] == figures[Figure.TTFT_P95] == pytest.approx(0.01)
    assert figures[Figure.ITL_MEAN] == figures[Figure.ITL_P95] == pytest.approx(0.01)
    assert figures[Figure.E2E_MEAN] == pytest.approx(0.05)
    assert figures[Figure.THROUGHPUT] == 5.0
    assert figures[Figure.RUNNING] == pytest.approx(1 / LOOKS)  # there at the first look, after 33 ms, and then gone
    assert figures[Figure.KV_USAGE] == pytest.approx(1 / 1000 / LOOKS)
    assert (figures[Figure.WAITING], figures[Figure.PREEMPTIONS]) == (0.0, 0.0)


def test_the_front_end_delays_first_tokens_and_answers_but_no_gaps() -> None:
    figures = played(request("a"), front_end_s=0.004).figures
    assert figures[Figure.TTFT_MEAN] == pytest.approx(0.014)
    assert figures[Figure.E2E_MEAN] == pytest.approx(0.054)
    assert figures[Figure.ITL_MEAN] == pytest.approx(0.01)


def test_with_one_seat_the_second_request_waits_for_the_first() -> None:
    figures = played(request("a"), request("b"), of=rules(seats=1)).figures
    assert figures[Figure.TTFT_MEAN] == pytest.approx((0.01 + 0.06) / 2)
    assert figures[Figure.E2E_MEAN] == pytest.approx((0.05 + 0.10) / 2)
    assert figures[Figure.RUNNING] == pytest.approx(2 / LOOKS)
    assert figures[Figure.WAITING] == pytest.approx(1 / LOOKS)


def test_only_what_happens_in_the_part_that_counts_is_told() -> None:
    run = play(rules(), TEN_MS, Sample([request("a", -0.03), request("late", 0.5)], None), (0.0, 0.4), 0.0)
    assert run.figures[Figure.THROUGHPUT] == 3 / 0.4  # tokens at 0, 10 and 20 ms, of five from -20 ms on
    assert Figure.TTFT_MEAN not in run.figures
    assert run.figures[Figure.E2E_MEAN] == pytest.approx(0.05)


def test_an_empty_server_has_levels_and_no_latencies() -> None:
    assert set(played().figures) == {
        Figure.THROUGHPUT,
        Figure.RUNNING,
        Figure.WAITING,
        Figure.KV_USAGE,
        Figure.PREEMPTIONS,
    }


def test_a_request_that_the_server_could_never_take_is_left_out() -> None:
    run = played(request("huge", prompt=9999), request("a"), of=rules(blocks=10))
    assert run.figures[Figure.THROUGHPUT] == 5.0


def test_requests_that_outgrow_the_cache_are_preempted_and_counted_by_the_minute() -> None:
    """Ten blocks hold 160 tokens; two answers of 100 tokens after prompts of 10 do not fit together."""
    run = played(request("a", tokens=100), request("b", tokens=100), of=rules(blocks=10), to_s=6.0)
    assert run.figures[Figure.PREEMPTIONS] == 10.0  # one in six seconds
    assert run.figures[Figure.THROUGHPUT] == pytest.approx(200 / 6)


def test_whoever_waits_for_an_answer_asks_again_when_it_is_there() -> None:
    run = play(rules(), TEN_MS, clients(1), (0.0, 1.0))
    assert run.figures[Figure.E2E_MEAN] == pytest.approx(0.05, rel=1e-6)
    assert len(run.answers) == 19  # every 50 ms, the last one ends with the second
    assert 0.9 < run.figures[Figure.RUNNING] <= 1.0  # a look may fall between two requests


def test_waiting_clients_are_never_more_than_they_are() -> None:
    run = play(rules(seats=2), TEN_MS, clients(6, tokens=lambda n: 3 + n % 4), (0.0, 2.0))
    assert run.figures[Figure.RUNNING] == pytest.approx(2.0, abs=0.1)
    assert 3.0 < run.figures[Figure.WAITING] <= 4.0  # who asks during a step is taken in after it
    assert run.figures[Figure.THROUGHPUT] == pytest.approx(200, rel=0.02)  # two seats, a token each per step


def test_the_run_begins_with_the_first_request() -> None:
    run = play(rules(), TEN_MS, clients(1, from_s=-0.52), (0.0, 1.0))
    assert len(run.answers) == 20
    assert run.figures[Figure.THROUGHPUT] == pytest.approx(100, rel=0.02)


def test_the_slowest_gap_in_twenty_is_the_95th_percentile() -> None:
    """A step with a prompt in it takes longer; of a hundred gaps so many hold one."""
    slow = StepTime(0.01, 0.0, 1.0, 0.0, 0.0, 0.0, prompt_step_s=0.05)

    def p95(newcomers: int) -> float:
        others = [request(f"n{turn}", 0.2 + turn / 10, tokens=1) for turn in range(newcomers)]
        sample = Sample([request("long", tokens=101), *others], None)
        return play(rules(), slow, sample, (0.0, 3.0)).figures[Figure.ITL_P95]

    assert p95(4) == pytest.approx(0.01)
    assert p95(6) == pytest.approx(0.06)


def test_a_gap_is_what_the_engine_tells_a_step_or_what_a_client_waits() -> None:
    """TGI times its decode steps; those that read prompts as well are not among them."""
    slow = replace(TEN_MS, prompt_step_s=0.09)
    sample = Sample([request("a", tokens=50), request("b", 0.2)], None)
    gaps, steps = (
        play(rules(), slow, sample, (0.0, 2.0), gaps_are_steps=told).figures[Figure.ITL_MEAN] for told in (False, True)
    )
    assert steps == pytest.approx(0.01)
    assert gaps > 1.1 * steps


def test_a_queue_grows_where_more_comes_than_is_served() -> None:
    many = [request(f"r{turn}", 0.02 * turn, tokens=10) for turn in range(200)]
    few = [request(f"r{turn}", 0.2 * turn, tokens=10) for turn in range(20)]
    assert played(*many, of=rules(seats=1), to_s=4.0).queue_growth > 10
    assert played(*few, of=rules(seats=1), to_s=4.0).queue_growth == pytest.approx(0, abs=1)


def test_only_what_lies_in_the_span_counts_of_steps_in_which_all_decode() -> None:
    """Both requests get their first token at 10 ms, then 99 more each, 10 ms apart; 39 of these in the span."""
    two = [request("a", tokens=100), request("b", tokens=100)]
    for gaps_are_steps, times in ((False, 2), (True, 1)):
        run = play(rules(), TEN_MS, Sample(two, None), (0.105, 0.495), gaps_are_steps=gaps_are_steps)
        assert run.figures[Figure.THROUGHPUT] == pytest.approx(2 * 39 / 0.39)
        assert run.gaps[:, 0] == pytest.approx(0.01)
        assert (len(run.gaps), set(run.gaps[:, 1])) == (39, {times})
