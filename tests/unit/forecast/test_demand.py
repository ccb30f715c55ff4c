from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf, log
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perfagent.domain.errors import InvalidInput
from perfagent.domain.window import Window
from perfagent.forecast.demand import STEADY_LOOKS, Arrivals, Demand, Load, Sample, demand, lognormal, recent
from perfagent.twin import Lengths
from support.windows import SIZES, histogram, window

STEADY = Demand(
    arrivals=tuple(Arrivals(5.0 * turn, 5.0 * turn + 5, 10.0) for turn in range(6)),
    prompt=Lengths(400, 0.5),
    output=Lengths(100, 0.5),
    reuse=0.0,
    present=0.0,
    observed=1e6,
)


def seen(engine: str = "vllm", answers: float = 100.0, **series: Any) -> Window:
    """Prompts of 400 tokens and answers of one length, as many in every stretch as `finished` says."""
    done = [float(word) for word in str(series["finished"]).split()]
    new = [round(b - a) for a, b in pairwise(done)]
    return window(
        engine=engine,
        prompt_length=[[400.0] * count for count in new],
        generation_length=[[answers] * count for count in new],
        **series,
    )


def counts(found: Demand) -> list[float]:
    return [each.count for each in found.arrivals]


# Lengths


@given(
    mean=st.floats(100, 2500),
    sigma=st.floats(0.3, 1.2),
    seed=st.integers(0, 10_000),
    count=st.sampled_from([1500, 4000]),
)
def test_a_lognormal_is_recovered_from_its_buckets(mean: float, sigma: float, seed: int, count: int) -> None:
    drawn = np.random.default_rng(seed).lognormal(log(mean) - sigma**2 / 2, sigma, count).round().clip(1)
    found = lognormal(histogram(drawn.tolist(), SIZES))
    assert found.mean == pytest.approx(drawn.mean())
    assert found.sigma == pytest.approx(sigma, rel=0.15, abs=0.06)


def test_without_buckets_the_mean_is_exact_and_the_spread_is_what_it_usually_is() -> None:
    found = lognormal(histogram([20.0, 40.0, 90.0] * 50, (inf,)))
    assert found.mean == 50.0
    assert found.sigma == pytest.approx(0.7, rel=0.06)  # the nearest spread that is tried


def test_lengths_all_in_one_narrow_bucket_are_nearly_alike() -> None:
    found = lognormal(histogram([90.0] * 500, SIZES))
    assert 0.01 < found.sigma < 0.2


def test_answers_of_one_token_are_alike_too() -> None:
    """They lie on the edge of their bucket, and lengths are whole."""
    found = lognormal(histogram([1.0] * 500, SIZES))
    assert found.mean == 1.0
    assert found.sigma < 0.3


def test_a_few_lengths_in_one_wide_bucket_do_not_make_them_all_alike() -> None:
    assert lognormal(histogram([50.0] * 3, (1000.0, inf))).sigma == pytest.approx(0.7, rel=0.06)


def test_a_mean_that_is_known_better_stands_above_the_histogram_s() -> None:
    lengths = histogram([100.0, 300.0] * 20, SIZES)
    assert lognormal(lengths, 250.0).mean == 250.0
    assert lognormal(lengths).mean == 200.0


def test_prompts_that_were_computed_count_even_where_their_answers_are_not_finished() -> None:
    found = demand(
        seen(
            finished="0 10 20",
            running="5 5 5",
            prompt_tokens="0 8000 16000",
            ttft=[[0.1] * 10, [0.1] * 10],
            itl=[[], []],
        )
    )
    assert found.prompt.mean == 800.0  # those that finished had 400


def growing(mean: float, sigma: float, seed: int) -> tuple[Window, float]:
    """Ten requests a second begin and yield 20 tokens a second each, seen for 40 s from an empty server."""
    rng = np.random.default_rng(seed)
    begin = np.sort(rng.uniform(0, 40, 400))
    tokens = rng.lognormal(log(mean) - sigma**2 / 2, sigma, 400).round().clip(1)
    end = begin + tokens / 20
    looks = np.arange(0, 41, 4.0)

    def within(times: np.ndarray, values: np.ndarray) -> list[list[float]]:
        return [values[(a < times) & (times <= b)].tolist() for a, b in pairwise(looks)]

    made = window(
        every_s=4.0,
        finished=" ".join(str(int((end <= at_s).sum())) for at_s in looks),
        running=" ".join(str(int(((begin <= at_s) & (at_s < end)).sum())) for at_s in looks),
        ttft=within(begin, np.full(400, 0.1)),
        itl=within(begin, np.full(400, 0.05)),
        prompt_length=within(end, np.full(400, 300.0)),
        generation_length=within(end, tokens),
    )
    return made, float(tokens[end <= 40].mean())


@pytest.mark.parametrize("seed", range(3))
def test_answers_still_under_way_are_taken_into_account(seed: int) -> None:
    made, naive = growing(mean=400.0, sigma=0.6, seed=seed)
    found = demand(made)
    assert naive < 0.85 * 400  # long answers had no time to finish
    assert found.output.mean == pytest.approx(400, rel=0.12)
    assert found.output.sigma == pytest.approx(0.6, rel=0.25)
    assert any("had not finished" in note for note in found.notes)


def test_where_nearly_all_finished_their_mean_is_exact_and_nothing_is_noted() -> None:
    found = demand(
        seen(finished="0 50 100", running="0 1 2", ttft=[[0.1] * 51, [0.1] * 51], itl=[[0.02] * 9, [0.02] * 9])
    )
    assert found.output.mean == 100.0
    assert not found.notes


def test_without_first_tokens_only_finished_answers_tell_how_long_they_are() -> None:
    found = demand(seen("tgi", finished="0 10 20", running="0 40 80", itl=[[0.02] * 9, [0.02] * 9]))
    assert found.output.mean == 100.0


# Arrivals


def test_what_came_is_what_left_and_by_how_many_more_there_are() -> None:
    found = demand(seen(finished="0 3 7 7", running="2 2 2 1", waiting="0 0 1 0"))
    assert counts(found) == [3.0, 5.0, 0.0]
    assert [(each.from_s, each.to_s) for each in found.arrivals] == [(0, 5), (5, 10), (10, 15)]
    assert found.present == 2.0


def test_a_gauge_that_lags_behind_makes_no_arrivals() -> None:
    """Four leave, but the gauge shows it a scrape later; then four come and are gone again."""
    assert sum(counts(demand(seen(finished="0 4 4 8", running="4 4 0 0")))) == 4.0


def test_a_gauge_that_is_missing_for_a_scrape_makes_no_arrivals() -> None:
    assert counts(demand(seen(finished="0 2 4", running="4 _ 4"))) == [0.0, 4.0]


def test_requests_that_were_broken_off_had_come_too() -> None:
    assert counts(demand(seen(finished="0 2 4", aborted="0 1 1", running="4 4 4"))) == [3.0, 2.0]


def test_where_the_engine_counts_broken_off_requests_as_finished_they_count_once() -> None:
    assert counts(demand(seen("sglang", finished="0 2 4", aborted="0 1 1", running="4 4 4"))) == [2.0, 2.0]


def test_the_load_ends_with_the_last_stretch_at_half_the_usual_pace() -> None:
    found = demand(seen(finished="0 20 40 60 63 63", running="0 0 0 0 0 0"))
    assert found.until_s == 15.0
    assert found.rate_per_s == 4.0


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (window(running="4x3", finished="0 2 4"), "no request finished"),
        (seen(finished="0 0 0", running="4 5 6"), "no request finished"),
        (seen(finished="0 4 4", running="4 0 0"), "nothing arrived"),
        (seen(finished="0", running="3"), "one scrape"),
    ],
)
def test_without_finished_requests_or_arrivals_there_is_no_load_to_predict_with(made: Window, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        demand(made)


# Reuse and clients


@pytest.mark.parametrize(
    ("queries", "hits", "reuse"),
    [("0 1000 2000", "0 250 500", 0.25), ("0 10 20", "0 10 20", 0.99), ("0 0 0", "0 0 0", 0.0), (None, "0 5 9", 0.0)],
)
def test_reuse_is_the_share_of_looked_up_tokens_that_were_found(queries: str | None, hits: str, reuse: float) -> None:
    found = demand(seen(finished="0 10 20", running="0x3", prefix_queries=queries, prefix_hits=hits))
    assert found.reuse == reuse


def test_pairs_of_a_token_grow_with_the_prompt_before_it() -> None:
    alike = replace(STEADY, prompt=Lengths(400, 0.0))
    assert alike.pairs_per_token == 200.0
    assert replace(alike, reuse=0.5).pairs_per_token == 300.0  # only the second half is computed
    assert replace(alike, prompt=Lengths(400, 0.5)).pairs_per_token > 200.0  # long prompts hold most tokens


def test_clients_that_wait_for_their_answers_are_as_many_as_are_always_there() -> None:
    found = demand(seen(finished="0 9 18 27 36 45 54 63", running="0 8 8 7 8 8 8 8", waiting="0 4 4 5 4 3 4 4"))
    assert found.clients == 12
    assert "12 clients seem to wait" in found.notes[0]


@pytest.mark.parametrize(
    ("finished", "running"),
    [
        ("0 9 18 27 36 45", "12 12 12 12 12 12"),  # five looks after the first: may be chance
        ("0 9 18 27 36 45 54", "3 3 3 3 3 3 3"),  # so few requests vary little by themselves
        ("0 1 2 3 4 5 6", "12 12 12 12 12 12 12"),  # nobody asked twice
        ("0 9 18 27 36 45 54", "12 15 9 14 11 13 10"),
    ],
)
def test_what_may_be_chance_is_not_taken_for_waiting_clients(finished: str, running: str) -> None:
    assert demand(seen(finished=finished, running=running)).clients is None


def test_independent_clients_are_not_mistaken_for_waiting_ones() -> None:
    rng = np.random.default_rng(1)
    done = " ".join(str(4 * turn) for turn in range(13))
    for _ in range(20):
        running = " ".join(map(str, rng.poisson(20, 13)))
        assert demand(seen(finished=done, running=running)).clients is None


# Samples


def ids(sample: Sample) -> Sequence[str]:
    return [request.id for request in sample.requests]


@example(seed=0, longest=30, reuse=0.99, before_s=0.0)
@given(
    seed=st.integers(0, 1000),
    longest=st.integers(2, 2000),
    reuse=st.floats(0, 0.99),
    before_s=st.sampled_from([0.0, 12.0]),
)
def test_every_request_of_a_sample_fits_and_comes_in_its_stretch(
    seed: int, longest: int, reuse: float, before_s: float
) -> None:
    sample = replace(STEADY, reuse=reuse).requests(np.random.default_rng(seed), longest=longest, before_s=before_s)
    times = [request.arrival_s for request in sample.requests]
    assert times == sorted(times)
    assert all(0 <= request.prefix_tokens < request.prompt_tokens for request in sample.requests)
    assert all(request.prompt_tokens + request.output_tokens <= longest for request in sample.requests)
    for each in STEADY.arrivals:
        assert sum(each.from_s <= time < each.to_s for time in times) == each.count
    assert all(time >= -before_s for time in times)
    assert len(set(ids(sample))) == len(times)


def test_a_sample_s_lengths_and_reuse_are_those_of_the_demand() -> None:
    long = replace(STEADY, arrivals=(Arrivals(0, 10, 4000),), reuse=0.25)
    made = long.requests(np.random.default_rng(0), longest=100_000).requests
    assert np.mean([request.prompt_tokens for request in made]) == pytest.approx(400, rel=0.03)
    assert np.mean([request.output_tokens for request in made]) == pytest.approx(100, rel=0.03)
    assert sum(r.prefix_tokens for r in made) / sum(r.prompt_tokens for r in made) == pytest.approx(0.25, rel=0.02)


def test_lengths_of_few_requests_are_uncertain_and_of_many_are_not() -> None:
    def spread(observed: float) -> float:
        of = replace(STEADY, arrivals=(Arrivals(0, 1, 300),), output=Lengths(100, 0.1), observed=observed)
        samples = [of.requests(np.random.default_rng(seed), longest=9999).requests for seed in range(20)]
        return float(np.std([np.mean([request.output_tokens for request in sample]) for sample in samples]))

    assert spread(1e6) < 1.5
    assert spread(1.0) > 4.0


def test_a_part_of_a_request_comes_as_often_as_that_part() -> None:
    of = replace(STEADY, arrivals=(Arrivals(0, 1, 2.25),))
    drawn = [len(of.requests(np.random.default_rng(seed), longest=9999).requests) for seed in range(200)]
    assert set(drawn) == {2, 3}
    assert np.mean(drawn) == pytest.approx(2.25, abs=0.1)


def test_the_same_load_comes_before_the_window() -> None:
    drawn = [STEADY.requests(np.random.default_rng(seed), longest=9999, before_s=30.0) for seed in range(20)]
    early = [sum(request.arrival_s < 0 for request in sample.requests) for sample in drawn]
    assert np.mean(early) == pytest.approx(60, abs=6)
    assert len(set(early)) > 5  # arrivals that keep to no clock


def test_waiting_clients_all_ask_at_the_beginning_and_then_one_by_one() -> None:
    sample = replace(STEADY, clients=7).requests(np.random.default_rng(0), longest=9999, before_s=20.0)
    assert [request.arrival_s for request in sample.requests] == [-20.0] * 7
    assert sample.follow_up is not None
    following = sample.follow_up(3.5)
    assert following.arrival_s == 3.5
    assert following.id not in ids(sample)
    assert STEADY.requests(np.random.default_rng(0), longest=9999).follow_up is None


# Changes of the load


def test_a_rate_replaces_the_arrivals_and_nobody_waits_for_answers_any_more() -> None:
    after = Load(rate_per_s=7.0).of(replace(STEADY, clients=12))
    assert after.rate_per_s == 7.0
    assert after.until_s == STEADY.until_s
    assert after.clients is None
    drawn = [len(after.requests(np.random.default_rng(seed), longest=9999).requests) for seed in range(20)]
    assert np.mean(drawn) == pytest.approx(210, rel=0.05)
    assert len(set(drawn)) > 5


def test_a_factor_scales_arrivals_or_the_clients_that_wait() -> None:
    twice = Load(scale=2.0).of(replace(STEADY, clients=5))
    assert counts(twice) == [20.0] * 6
    assert twice.clients == 10
    assert Load(scale=0.01).of(twice).clients == 1
    assert Load(scale=2.0).of(STEADY).clients is None


def test_new_lengths_keep_their_spread_and_what_is_not_said_stays() -> None:
    after = Load(output_tokens=300.0).of(STEADY)
    assert after.output == Lengths(300.0, 0.5)
    assert replace(after, output=STEADY.output) == STEADY
    assert Load(prompt_tokens=50.0).of(STEADY).prompt == Lengths(50.0, 0.5)
    assert Load().of(STEADY) == STEADY


@pytest.mark.parametrize("field", ["rate_per_s", "scale", "prompt_tokens", "output_tokens"])
@pytest.mark.parametrize("value", [0.0, -1.0, inf, float("nan")])
def test_a_load_of_nothing_is_refused(field: str, value: float) -> None:
    with pytest.raises(InvalidInput, match="above 0"):
        Load(**{field: value})


def test_a_rate_and_a_factor_together_are_refused() -> None:
    with pytest.raises(InvalidInput, match="not by both"):
        Load(rate_per_s=2.0, scale=2.0)


# The part that is played


def test_a_long_window_is_played_from_its_last_part_however_rarely_it_was_scraped() -> None:
    for every_s in (2.0, 5.0, 15.0):
        looks = int(600 / every_s) + 1
        finished = " ".join(str(round(10 * every_s * turn)) for turn in range(looks))
        long = seen(finished=finished, running=f"20x{looks}", waiting=f"0x{looks}", every_s=every_s)
        part, wanted = recent(long, demand(long))
        assert STEADY_LOOKS <= len(part.snapshots) <= 16
        assert part.end_s == long.end_s
        assert wanted.rate_per_s == pytest.approx(demand(long).rate_per_s)


# Other whiles


def came(of: Demand, draws: int = 150) -> list[int]:
    return [len(of.requests(np.random.default_rng(seed), longest=4096).requests) for seed in range(draws)]


def test_a_while_to_come_has_other_arrivals_by_chance_and_one_that_was_has_its_own() -> None:
    """Two whiles of 200 Poisson arrivals each differ by a tenth; bursts make it more."""
    known = replace(STEADY, observed=200.0)
    assert set(came(known)) == {60}
    for burstiness in (1.0, 4.0):
        to_come = came(replace(known, burstiness=burstiness).to_come())
        assert np.std(to_come) / np.mean(to_come) == pytest.approx((2 * burstiness / 200) ** 0.5, rel=0.15)


def test_bursts_are_seen_in_how_counts_differ() -> None:
    calm = demand(seen(finished="0 50 100 150 200 250 300 350", running="20x8", waiting="0x8"))
    bursts = demand(seen(finished="0 10 100 110 200 210 300 310", running="20x8", waiting="0x8"))
    assert calm.burstiness < 0.1
    assert bursts.burstiness > 10
