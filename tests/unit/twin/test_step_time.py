from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from perfagent.twin import StepTime
from perfagent.twin.step_time import softplus

H200 = StepTime(7e-3, 2e-5, 150, 1.5e-5, 3.5e-8, 1.5e-10, 1e-3)


@given(st.floats(-1e6, 1e6))
def test_the_corner_is_never_below_the_ramp_and_vanishes_far_from_it(tokens: float) -> None:
    assert softplus(tokens) >= max(tokens, 0.0)
    assert softplus(tokens) <= max(tokens, 0.0) + 30 * 0.6932


def test_tokens_below_the_ridge_ride_along_for_free() -> None:
    one, twenty = H200.seconds(1, 1, 0, 0), H200.seconds(20, 1, 0, 0)
    assert twenty - one < 0.02 * H200.base_s
    assert H200.seconds(2150, 1, 0, 0) - one > 0.95 * 2000 * H200.per_token_s


def test_each_term_counts_what_its_name_says() -> None:
    empty = H200.seconds(1, 0, 0, 0)
    assert abs(H200.seconds(1, 100, 0, 0) - empty - 100 * H200.per_sequence_s) < 1e-12
    assert abs(H200.seconds(1, 0, 50_000, 0) - empty - 50_000 * H200.per_context_token_s) < 1e-12
    prompt = 1e6 * H200.per_pair_s + H200.prompt_step_s
    assert abs(H200.seconds(1, 0, 0, 1e6) - empty - prompt) < 1e-12


def test_on_a_slower_machine_every_step_takes_as_many_times_as_long() -> None:
    step = (2150, 30, 50_000, 1e6)
    assert isclose(H200.scaled(2.5).seconds(*step), 2.5 * H200.seconds(*step))
