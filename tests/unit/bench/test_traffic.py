"""Clients of emulated servers."""

from itertools import islice, pairwise
from statistics import fmean, pstdev

import numpy as np
import pytest

from perfagent.bench.traffic import Mixture, Traffic
from perfagent.twin import Lengths, SharedPrefixes

SHORT_AND_LONG = Mixture(Lengths(50), Lengths(500), 0.2)
ALIKE = Mixture(Lengths(100), Lengths(100), 0.0)


def traffic(**kwargs: object) -> Traffic:
    usual: dict[str, object] = {
        "rate_per_s": 4.0, "evenness": 1.0, "clients": None, "think_s": 0.0, "prompt": SHORT_AND_LONG,
        "output": ALIKE, "prefixes": None,
    }  # fmt: skip
    return Traffic(**(usual | kwargs))  # type: ignore[arg-type]


def gaps(evenness: float) -> list[float]:
    came = islice(traffic(evenness=evenness).arrivals(np.random.default_rng(0), 4096), 8000)
    return [b.arrival_s - a.arrival_s for a, b in pairwise(came)]


def test_two_kinds_of_requests_have_the_mean_of_both() -> None:
    rng = np.random.default_rng(0)
    drawn = [SHORT_AND_LONG.tokens(rng) for _ in range(5000)]
    assert set(drawn) == {50, 500}
    assert fmean(drawn) == pytest.approx(SHORT_AND_LONG.mean, rel=0.05)
    assert SHORT_AND_LONG.longer(2).mean == 2 * SHORT_AND_LONG.mean


@pytest.mark.parametrize(("evenness", "variation"), [(1.0, 1.0), (0.25, 2.0)])
def test_arrivals_keep_their_rate_and_come_in_bursts(evenness: float, variation: float) -> None:
    between = gaps(evenness)
    assert fmean(between) == pytest.approx(0.25, rel=0.08)
    assert pstdev(between) / fmean(between) == pytest.approx(variation, rel=0.1)


def test_nobody_asks_for_more_than_the_server_takes() -> None:
    long = traffic(prompt=Mixture(Lengths(3000), Lengths(9000), 0.5), prefixes=SharedPrefixes(2, 500, 0.5))
    for request in islice(long.arrivals(np.random.default_rng(0), 4096), 200):
        assert request.prompt_tokens + request.output_tokens <= 4096
        assert request.prefix_tokens in (0, 500)


def test_a_load_grows_in_one_thing_at_a_time() -> None:
    more = traffic(clients=8).grown(requests=1.5)
    assert (more.rate_per_s, more.clients, more.prompt) == (6.0, 12, SHORT_AND_LONG)
    assert traffic().grown(output=3).output.mean == 300
