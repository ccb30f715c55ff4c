"""What to try next, on a played problem: few seats under a load that needs more, and objectives on latency."""

from functools import cache

import pytest

from perfagent import engines
from perfagent.bench import trials
from perfagent.bench.trials import BLUR, Outlook, Tried, outlook
from perfagent.bench.tuning import Setting, problem, watched_trial
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Change, Knob, change_of
from perfagent.domain.machine import Machine
from perfagent.forecast import Forecaster, case

PROBLEM = problem(3)
START = PROBLEM.start
FITTING, SLOW = (32, 1024), (8, 8192)
"""A setting that serves nearly all in time, and one that makes them queue, as long runs tell."""


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "ROUNDS", ((2, 3),))
    monkeypatch.setattr(trials, "DRAWS", 8)


@cache
def asker() -> Forecaster:
    """All that is known after the start's own two minutes."""
    window, launch = watched_trial(PROBLEM, START, 0)
    config = engines.effective("vllm", launch, window.snapshots[-1].info, {}, "0.33.0")
    return Forecaster(case(window, config, launch, Machine(PROBLEM.sheet, 1, PROBLEM.machine.model.shape)))


def change(setting: Setting) -> Change:
    return change_of({Knob.MAX_NUM_SEQS: setting[0], Knob.MAX_NUM_BATCHED_TOKENS: setting[1]})


@cache
def after(*tried: tuple[Setting, float]) -> Outlook:
    return outlook(asker(), PROBLEM.objectives, [Tried(change(setting), share) for setting, share in tried])


def test_two_knobs_are_changed_at_once_where_one_alone_is_not_enough() -> None:
    ahead = after((START, 0.0))
    assert ahead.best == change(START)
    assert ahead.following is not None
    values = dict(ahead.following)
    assert values[Knob.MAX_NUM_SEQS] != START[0]
    assert values[Knob.MAX_NUM_BATCHED_TOKENS] != START[1]


def test_what_was_tried_is_not_tried_again() -> None:
    first = after((START, 0.0)).following
    assert first is not None
    setting = tuple(dict(first).values())
    second = after((START, 0.0), (setting, 1.0)).following
    assert second not in (first, change(START))


def test_the_best_is_what_serves_in_time() -> None:
    assert after((START, 0.0), (FITTING, 1.0), (SLOW, 0.0)).best == change(FITTING)


def test_what_a_trial_measured_counts_against_what_the_twin_expects() -> None:
    """In a world in which the setting that should serve all in time fails, and the slow one does not."""
    assert after((START, 0.0), (FITTING, 0.05), (SLOW, 0.9)).best == change(SLOW)


def test_trials_end_where_nothing_is_expected_to_be_better() -> None:
    """Nobody is served late any more, and some luck was with it."""
    assert after((START, 0.0), (FITTING, 1.0 + 2 * BLUR)).following is None


def test_a_trial_of_what_the_twin_does_not_play_is_refused() -> None:
    with pytest.raises(InvalidInput):
        outlook(asker(), PROBLEM.objectives, [Tried(change((0, 0)), 1.0)])
