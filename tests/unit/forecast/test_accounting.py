from math import exp
from typing import Any

import pytest

from perfagent.domain.window import Window
from perfagent.forecast.accounting import RECOMPUTED, accounts, computed
from perfagent.twin import SchedulerRules
from perfagent.twin.interval import Interval
from support.windows import START_S, window

VLLM = SchedulerRules(
    max_num_seqs=64, max_num_batched_tokens=1000, kv_blocks=1000, block_size=16, async_scheduling=False
)
SGLANG = SchedulerRules(
    max_num_seqs=64,
    max_num_batched_tokens=1000,
    kv_blocks=16_000,
    block_size=1,
    async_scheduling=False,
    mixed=False,
    reserve_output_ratio=0.1,
)
TGI = SchedulerRules(
    max_num_seqs=64,
    max_num_batched_tokens=1000,
    kv_blocks=16_000,
    block_size=1,
    async_scheduling=False,
    reserve_output_ratio=1.0,
)
PAIRS = 150.0
BUSY: dict[str, Any] = {
    "running": "20 20",
    "waiting": "0 0",
    "generation_tokens": "0 2000",
    "prompt_tokens": "0 4000",
    "ttft": [[0.1] * 20],
    "step_tokens": [[60.0] * 100],
    "kv_usage": "0.5 0.5",
}
"""A hundred steps of vLLM in five seconds, 20 prompts of 200 tokens in them, half of 16,000 tokens in use."""


def row(rules: SchedulerRules = VLLM, **series: Any) -> Interval:
    (only,) = accounts(window(**series), rules, PAIRS)
    return only


def test_a_stretch_of_vllm_is_counted_by_its_steps_and_first_tokens() -> None:
    found = row(**BUSY)
    assert (found.seconds, found.steps, found.prompts, found.prompt_tokens) == (5.0, 100.0, 20.0, 4000.0)
    assert found.decode_tokens == 2000 - 20  # first tokens come out of prompts
    assert found.prefill_steps == pytest.approx(100 * (1 - exp(-20 / 100)))  # prompts begin in random steps
    context = 0.5 * 16_000 - 20 * 7.5  # blocks are half empty at their end
    assert found.context_tokens == pytest.approx(context * (19.8 / 20) * 100)  # those that read their prompt have none
    assert (found.pairs, found.prefix_tokens) == (4000 * PAIRS, 0.0)
    assert (found.running, found.waiting, found.mixed) == (20.0, 0.0, True)


def test_the_quieter_end_says_whether_a_stretch_was_busy() -> None:
    found = row(**BUSY | {"running": "5 20", "waiting": "3 0"})
    assert (found.running, found.waiting) == (5.0, 0.0)


def test_a_long_prompt_takes_several_steps_and_reads_its_own_beginning() -> None:
    long = {"prompt_tokens": "0 10000", "ttft": [[0.1] * 5], "step_tokens": [[60.0] * 4], "generation_tokens": "0 8"}
    found = row(**BUSY | long)
    assert found.steps == 10.0  # those that produced nothing are not counted by vLLM
    assert found.prefill_steps == 10.0
    assert found.prefix_tokens == 10_000 / 2  # of two pieces the second reads the first


def test_what_the_cache_held_is_not_computed_but_read() -> None:
    cached = row(**BUSY | {"prefix_hits": "0 1500"})
    assert (cached.prompt_tokens, cached.prefix_tokens) == (2500.0, 1500.0)
    assert row(**BUSY | {"prefix_hits": "0 1500", "prompt_tokens_computed": "0 2600"}).prompt_tokens == 2600.0


def test_a_preempted_request_computes_part_of_its_context_again() -> None:
    found, calm = row(**BUSY | {"preemptions": "0 10"}), row(**BUSY)
    held = calm.context_tokens / 100
    assert found.prompt_tokens == pytest.approx(4000 + RECOMPUTED * 10 * held / 19.8)
    assert found.pairs == pytest.approx(found.prompt_tokens * PAIRS)


def test_sglang_counts_its_steps_and_its_idle_time() -> None:
    counted = {
        "prefill_steps": "0 10",
        "decode_steps": "0 90",
        "idle_time": "0 1.5",
        "prompt_tokens_computed": "0 3000",
    }
    found = row(SGLANG, **BUSY | counted | {"step_tokens": None, "prefix_hits": "0 1000"})
    assert (found.steps, found.prefill_steps, found.prompt_tokens) == (100.0, 10.0, 3000.0)
    assert found.context_tokens == 0.5 * 16_000 * 90 + 1000  # prompts go first and alone: decoding waits
    assert found.idle_s == 1.5
    assert not found.mixed


def test_tgi_has_no_first_tokens_and_no_share_of_its_cache() -> None:
    found = row(
        TGI,
        running="10 14",
        waiting="0 0",
        finished="0 16",
        generation_tokens="0 1620",
        prompt_tokens="0 4000",
        prefill_steps="0 10",
        decode_steps="0 70",
        prompt_length=[[200.0] * 16],
        generation_length=[[100.0] * 16],
        itl=[[0.03] * 70],
    )
    assert found.prompts == 20.0  # answers completed, and four more under way
    assert (found.steps, found.prefill_steps, found.decode_tokens) == (80.0, 10.0, 1600.0)
    lengths = 12 * (200 + 100 / 2)
    decoding = 1600 / 80
    assert found.context_tokens == pytest.approx(lengths * min(1.0, decoding / 12) * 80)


def test_a_timer_of_prompts_counts_only_where_a_prompt_is_one_step() -> None:
    timer = {"prefill_time": [[0.04] * 20]}
    timed = row(**BUSY | timer)
    assert timed.timed_prompts == 20.0
    assert timed.timed_s == pytest.approx(0.8)
    planned_ahead = SchedulerRules(max_num_seqs=64, max_num_batched_tokens=1000, kv_blocks=1000, async_scheduling=True)
    assert row(planned_ahead, **BUSY | timer).timed_prompts == 0.0  # the step before is in it
    assert row(**BUSY | timer | {"prompt_tokens": "0 12000"}).timed_prompts == 0.0
    assert row(**BUSY).timed_prompts == 0.0


def test_idle_time_is_what_so_many_gaps_leave_where_work_may_have_run_out() -> None:
    quiet = BUSY | {"running": "1 2", "itl": [[0.02] * 300]}
    assert row(**quiet).idle_s == pytest.approx(5 - 100 * 0.02)
    assert row(**quiet | {"itl": [[0.06] * 300]}).idle_s == 0.0  # never below none
    assert row(**quiet | {"itl": None}).idle_s is None
    assert row(**quiet | {"waiting": "2 2"}).idle_s is None  # somebody always waited
    assert row(**quiet | {"running": "20 20"}).idle_s is None  # so many never all finish together


@pytest.mark.parametrize(
    "missing", ["generation_tokens", "prompt_tokens", "running", "ttft", "step_tokens", "kv_usage"]
)
def test_a_stretch_that_does_not_tell_what_was_computed_has_no_row(missing: str) -> None:
    assert accounts(window(**BUSY | {missing: None}), VLLM, PAIRS) == []


def four(**changed: Any) -> Window:
    series = {
        "running": "20x5",
        "waiting": "0x5",
        "generation_tokens": "0 2000 4000 6000 8000",
        "prompt_tokens": "0 4000 8000 12000 16000",
        "ttft": [[0.1] * 20] * 4,
        "step_tokens": [[60.0] * 100] * 4,
        "kv_usage": "0.5x5",
    }
    return window(**series | changed)


def test_every_two_neighbouring_scrapes_make_a_row() -> None:
    assert [found.decode_tokens for found in accounts(four(), VLLM, PAIRS)] == [1980.0] * 4


def test_a_stretch_with_a_restart_is_left_out() -> None:
    restarted = four(generation_tokens="0 2000 300 2300 4300")
    assert [found.decode_tokens for found in accounts(restarted, VLLM, PAIRS)] == [1980.0] * 3
    later = four(started_at_s=[START_S - 9, START_S - 9, START_S - 9, START_S + 12, START_S + 12])
    assert len(accounts(later, VLLM, PAIRS)) == 3


def test_a_stretch_in_which_a_scrape_is_missing_is_left_out() -> None:
    whole = four()
    holed = Window((*whole.snapshots[:2], *whole.snapshots[3:]))
    assert [found.seconds for found in accounts(holed, VLLM, PAIRS)] == [5.0, 5.0]


@pytest.mark.parametrize(
    ("series", "tokens"),
    [
        ({"prompt_tokens_computed": "0 70", "prompt_tokens": "0 100", "prefix_hits": "0 10"}, 70.0),
        ({"prompt_tokens": "0 100", "prefix_hits": "0 10"}, 90.0),
        ({"prompt_tokens": "0 100"}, 100.0),
        ({"prompt_tokens": "0 100", "prefix_hits": "0 140"}, 0.0),
        ({"running": "1 1"}, None),
    ],
)
def test_computed_tokens_are_counted_or_all_but_those_found(series: dict[str, Any], tokens: float | None) -> None:
    assert computed(window(**series)) == tokens
