from dataclasses import replace
from itertools import islice, takewhile

import pytest

from perfagent.twin import Lengths, Request, SharedPrefixes, Workload

CHAT = Workload(((0.0, 10.0),), Lengths(512, 0.4), Lengths(256, 0.4), seed=7)


def until(workload: Workload, to_s: float) -> list[Request]:
    return list(takewhile(lambda request: request.arrival_s < to_s, workload.requests()))


def test_a_seed_is_a_stream() -> None:
    assert list(islice(CHAT.requests(), 50)) == list(islice(CHAT.requests(), 50))
    assert list(islice(CHAT.requests(), 50)) != list(islice(replace(CHAT, seed=8).requests(), 50))


def test_lengths_have_the_mean_they_are_given() -> None:
    drawn = list(islice(CHAT.requests(), 10_000))
    assert sum(r.prompt_tokens for r in drawn) / len(drawn) == pytest.approx(512, rel=0.02)
    assert sum(r.output_tokens for r in drawn) / len(drawn) == pytest.approx(256, rel=0.02)
    assert all(r.output_tokens == 3 for r in islice(replace(CHAT, output=Lengths(3)).requests(), 20))
    assert all(r.prompt_tokens <= 500 for r in islice(replace(CHAT, prompt=Lengths(512, 1, 500)).requests(), 200))


def test_the_rate_changes_in_steps() -> None:
    arrivals = [r.arrival_s for r in until(replace(CHAT, rate_per_s=((10, 20.0), (60, 0.0), (100, 5.0))), 300)]
    assert arrivals == sorted(arrivals)
    between = [sum(a <= at_s < b for at_s in arrivals) for a, b in ((0, 10), (10, 60), (60, 100), (100, 300))]
    assert between[0] == between[2] == 0
    assert between[1] == pytest.approx(1000, rel=0.1)
    assert between[3] == pytest.approx(1000, rel=0.1)


def test_a_stream_whose_rate_ends_at_zero_ends() -> None:
    assert len(list(replace(CHAT, rate_per_s=((0, 10.0), (10, 0.0))).requests())) == pytest.approx(100, abs=30)


def test_changing_one_aspect_leaves_the_others_as_they_were() -> None:
    faster = replace(CHAT, rate_per_s=((0.0, 20.0),))
    for slow, fast in zip(islice(CHAT.requests(), 50), faster.requests(), strict=False):
        assert fast.arrival_s == pytest.approx(slow.arrival_s / 2)
        assert (fast.prompt_tokens, fast.output_tokens) == (slow.prompt_tokens, slow.output_tokens)


def test_prefixes_come_from_a_pool_and_stand_before_the_prompt() -> None:
    shared = replace(CHAT, prefixes=SharedPrefixes(pool=3, tokens=1000, share=0.5))
    pairs = list(islice(zip(CHAT.requests(), shared.requests(), strict=False), 400))
    with_prefix = [(plain, request) for plain, request in pairs if request.prefix_id]
    assert len(with_prefix) == pytest.approx(200, abs=40)
    assert {request.prefix_id for _, request in with_prefix} == {"p0", "p1", "p2"}
    assert all(request.prompt_tokens == plain.prompt_tokens + 1000 for plain, request in with_prefix)
    assert all(request.prefix_tokens == 0 for _, request in pairs if not request.prefix_id)


def test_impossible_requests_and_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Request("r", 0.0, 0, 1)
    with pytest.raises(ValueError, match="longer than its prompt"):
        Request("r", 0.0, 5, 1, "p", 6)
    with pytest.raises(ValueError, match="rise in time"):
        replace(CHAT, rate_per_s=((5.0, 1.0), (5.0, 2.0)))
