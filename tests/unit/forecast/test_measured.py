from math import inf
from typing import Any

import pytest

from perfagent.forecast.measured import measured
from perfagent.forecast.play import Figure
from support.windows import window

BUSY: dict[str, Any] = {
    "running": "2 4 6",
    "waiting": "0 0 3",
    "kv_usage": "0.1 0.2 0.6",
    "preemptions": "0 1 4",
    "generation_tokens": "0 500 1500",
    "ttft": [[0.2] * 10, [0.3] * 10],
    "itl": [[0.02] * 100, [0.04] * 100],
    "e2e": [[1.0] * 10, [3.0] * 10],
}


def test_figures_are_those_of_the_part_that_counts() -> None:
    made = window(every_s=10.0, **BUSY)
    late, whole = measured(made, (10.0, 20.0)), measured(made, (0.0, 20.0))
    assert late[Figure.THROUGHPUT] == 100.0
    assert whole[Figure.THROUGHPUT] == 75.0
    assert late[Figure.TTFT_MEAN] == pytest.approx(0.3)
    assert whole[Figure.TTFT_MEAN] == pytest.approx(0.25)
    assert late[Figure.ITL_MEAN] == pytest.approx(0.04)
    assert late[Figure.E2E_MEAN] == pytest.approx(3.0)
    assert late[Figure.PREEMPTIONS] == 18.0  # a minute
    assert (late[Figure.RUNNING], late[Figure.WAITING]) == (5.0, 1.5)
    assert late[Figure.KV_USAGE] == pytest.approx(0.4)


def test_quantiles_lie_in_the_bucket_that_holds_them() -> None:
    found = measured(window(**BUSY | {"ttft": [[0.2] * 90, [3.0] * 10]}), (0.0, 10.0))
    assert 0.1 < found[Figure.TTFT_P50] <= 0.25
    assert 2.5 < found[Figure.TTFT_P95] <= 5.0
    assert 0.025 < found[Figure.ITL_P95] <= 0.05


def test_a_quantile_of_which_only_a_lower_end_is_known_is_left_out() -> None:
    found = measured(window(edges={"ttft": (1.0, inf), "itl": (inf,)}, **BUSY | {"ttft": [[0.2], [9.0] * 9]}), (0, 10))
    assert found[Figure.TTFT_MEAN] == pytest.approx(8.12)
    assert not found.keys() & {Figure.TTFT_P50, Figure.TTFT_P95, Figure.ITL_P95}


def test_what_the_engine_does_not_tell_is_left_out() -> None:
    told = measured(window(**BUSY | {"ttft": None, "kv_usage": None, "preemptions": None, "e2e": [[], []]}), (0, 10))
    gone = {Figure.TTFT_MEAN, Figure.TTFT_P50, Figure.TTFT_P95, Figure.KV_USAGE, Figure.PREEMPTIONS, Figure.E2E_MEAN}
    assert told.keys() == set(Figure) - gone


@pytest.mark.parametrize("span", [(11.0, 20.0), (9.0, 11.0)])
def test_a_part_with_fewer_than_two_scrapes_has_no_figures(span: tuple[float, float]) -> None:
    assert measured(window(**BUSY), span) == {}
