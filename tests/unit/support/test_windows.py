"""The helper that other tests lean on."""

import pytest

from perfagent.domain.metric import Metric
from perfagent.domain.window import increase, levels, observed
from support.windows import START_S, histogram, numbers, window


def test_words_are_scrapes() -> None:
    assert numbers("0.97x3 _ 0..10x3 _x2 7") == [0.97, 0.97, 0.97, None, 0, 5, 10, None, None, 7]


def test_a_single_word_holds_at_every_scrape() -> None:
    seen = levels(window(kv_usage="0.5", running="1 2 3"), Metric.KV_USAGE)
    assert seen == [(START_S, 0.5), (START_S + 5, 0.5), (START_S + 10, 0.5)]


def test_a_scrape_that_everything_missed_is_no_snapshot() -> None:
    assert len(window(running="1 _ 3", waiting="0 _ 0").snapshots) == 2
    assert len(window(running="1 _ 3", waiting="0 0 0").snapshots) == 3


def test_observations_belong_to_the_interval_they_are_listed_in() -> None:
    seen = window(ttft=[[0.1, 0.2], [], [0.4]], preemptions="0 0 2 3", before={"ttft": [9.0]})
    inside = observed(seen, Metric.TTFT)
    assert inside is not None
    assert inside.cumulative == histogram([0.1, 0.2, 0.4]).cumulative
    assert inside.total == pytest.approx(0.7)
    assert increase(seen, Metric.PREEMPTIONS) == 3


def test_ranks_are_several_series() -> None:
    assert [value for _, value in levels(window(running={"0": "1x2", "1": "2x2"}), Metric.RUNNING)] == [3, 3]


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="has 2 scrapes where others have 3"):
        window(running="1 2", waiting="1 2 3")
