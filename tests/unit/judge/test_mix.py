from dataclasses import replace

import pytest

from perfagent.domain.metric import Metric
from perfagent.domain.verdict import Criterion, Look, PairedWindow, Role, StageRule, StageVerdict, Verdict
from perfagent.judge import Measured, decide
from perfagent.judge.mix import MOST_WARMING, warm_from
from perfagent.judge.stage import again
from support.noise import constant_windows

TTFT = Criterion(Metric.TTFT, Role.PRIMARY, 0.15)
TOKENS = Criterion(Metric.GENERATION_TOKENS, Role.PRIMARY, 0.15)
REQUESTS = Criterion(Metric.FINISHED, Role.MIX, 0.15)
PROMPTS = Criterion(Metric.PROMPT_LENGTH, Role.MIX, 0.15)
PREFIXES = Criterion(Metric.PREFIX_HITS, Role.MIX, 0.15)


def verdict(
    *values: tuple[Metric, float, float],
    criteria: tuple[Criterion, ...] = (TTFT, REQUESTS, PROMPTS),
    rule: StageRule = StageRule.NOT_INFERIOR,
) -> StageVerdict:
    """On windows with the same (metric, baseline, canary) throughout, from a large fleet."""
    windows = constant_windows(values, replicas=(50, 50))
    found = decide(Measured(windows), criteria, rule=rule, paired=True, look=Look(1, 3, 3))
    assert again(found) == found
    return found


def test_the_same_work_in_both_arms_is_compared() -> None:
    found = verdict((Metric.TTFT, 1.0, 1.0), (Metric.FINISHED, 2.0, 2.0), (Metric.PROMPT_LENGTH, 500.0, 500.0))
    assert found.verdict is Verdict.PROMOTE


@pytest.mark.parametrize("rule", StageRule)
def test_a_canary_with_less_to_do_is_not_promoted_for_being_fast(rule: StageRule) -> None:
    found = verdict((Metric.TTFT, 1.0, 0.8), (Metric.FINISHED, 2.0, 1.2), rule=rule)
    assert found.verdict is Verdict.HOLD
    assert found.reasons == ("not comparable: requests_finished of the canary is 40.0% fewer",)


def test_a_canary_with_more_to_do_is_not_rolled_back_for_being_slow() -> None:
    found = verdict((Metric.TTFT, 1.0, 1.5), (Metric.PROMPT_LENGTH, 500.0, 900.0))
    assert found.verdict is Verdict.HOLD
    assert found.reasons == ("not comparable: prompt_length_tokens of the canary is 80.0% longer",)


def test_a_little_more_to_do_is_no_excuse_for_being_far_slower() -> None:
    found = verdict((Metric.TTFT, 1.0, 5.0), (Metric.PROMPT_LENGTH, 500.0, 900.0))
    assert found.verdict is Verdict.ROLL_BACK
    assert found.reasons[0].startswith("ttft_s: ")


def test_a_canary_that_is_fast_with_more_to_do_has_proven_it_all_the_more() -> None:
    assert verdict((Metric.TTFT, 1.0, 1.0), (Metric.PROMPT_LENGTH, 500.0, 900.0)).verdict is Verdict.PROMOTE


def test_a_canary_that_is_slow_with_less_to_do_is_rolled_back() -> None:
    assert verdict((Metric.TTFT, 1.0, 1.5), (Metric.FINISHED, 2.0, 1.2)).verdict is Verdict.ROLL_BACK


@pytest.mark.parametrize("came", [1.2, 2.0])
def test_less_throughput_is_harm_though_fewer_requests_were_seen(came: float) -> None:
    values = (Metric.GENERATION_TOKENS, 100.0, 60.0), (Metric.FINISHED, 2.0, came)
    assert verdict(*values, criteria=(TOKENS, REQUESTS)).verdict is Verdict.ROLL_BACK


def test_more_requests_are_no_excuse_for_being_slower() -> None:
    assert verdict((Metric.TTFT, 1.0, 1.3), (Metric.FINISHED, 2.0, 3.4)).verdict is Verdict.ROLL_BACK


def test_failures_have_no_excuse() -> None:
    failed = Criterion(Metric.FAILED, Role.GUARDRAIL, 0.0)
    values = (Metric.TTFT, 1.0, 1.0), (Metric.FAILED, 0.0, 0.2), (Metric.PROMPT_LENGTH, 500.0, 900.0)
    assert verdict(*values, criteria=(TTFT, failed, PROMPTS)).verdict is Verdict.ROLL_BACK


def test_a_mix_that_was_not_seen_keeps_nobody_from_anything() -> None:
    assert verdict((Metric.TTFT, 1.0, 1.0)).verdict is Verdict.PROMOTE


def test_savings_of_next_to_everything_are_all_the_same() -> None:
    values = (Metric.TTFT, 1.0, 1.0), (Metric.PREFIX_HITS, 0.04, 0.01)
    assert verdict(*values, criteria=(TTFT, PREFIXES)).verdict is Verdict.PROMOTE


def warming(*missed: float | None) -> list[PairedWindow]:
    windows = constant_windows([(Metric.PREFIX_HITS, 0.3, 0.3)], windows=len(missed))
    return [replace(window, canary=share) for window, share in zip(windows, missed, strict=True)]


def test_windows_in_which_the_prefix_cache_still_fills_are_left_out() -> None:
    cold = warming(1.0, 0.7, 0.5, *[0.3] * 9)
    assert warm_from(cold) == (180.0, 3)
    slow = constant_windows([(Metric.TTFT, 1.0, 1.0)], windows=12, replicas=(50, 50))
    slow_at_first = tuple(replace(window, canary=3.0) if k < 3 else window for k, window in enumerate(slow))
    found = decide(Measured((*slow_at_first, *cold)), (TTFT, PREFIXES), rule=StageRule.NOT_INFERIOR, paired=True)
    assert (found.verdict, found.warming) == (Verdict.PROMOTE, 3)
    assert found.judgements[0].windows == 9
    assert len(found.windows) == 24


def test_a_cache_that_never_gets_warm_is_what_the_change_made_of_it() -> None:
    missed = [1.0 - 0.05 * k for k in range(12)]
    assert warm_from(warming(*missed)) == (60.0 * 12 * MOST_WARMING, 6)
    assert warm_from(warming(*[0.9] * 12)) == (0.0, 0)


@pytest.mark.parametrize("missed", [(), (1.0, *[0.1] * 7), (None,) * 12])
def test_too_little_to_tell_leaves_nothing_out(missed: tuple[float | None, ...]) -> None:
    assert warm_from(warming(*missed)) == (0.0, 0)
