from collections.abc import Mapping
from math import inf

import pytest

from perfagent.analysis import diagnose
from perfagent.domain.finding import Cause, Severity, Symptom
from perfagent.domain.knob import EffectiveConfig, Knob, KnobValue, Setting, Source
from perfagent.domain.window import Window, lifetime
from support.windows import window

UNKNOWN = EffectiveConfig({})


def told(values: Mapping[Knob, KnobValue], at_least: Mapping[Knob, float] | None = None) -> EffectiveConfig:
    return EffectiveConfig({knob: Setting(value, Source.FLAG) for knob, value in values.items()}, None, at_least or {})


def causes(seen: Window, config: EffectiveConfig = UNKNOWN) -> list[Cause]:
    return [finding.cause for finding in diagnose(seen, config).findings]


def queued(**changed: object) -> Window:
    """Eight run, a queue grows, the KV cache is nearly empty; each request decodes for seconds."""
    series: dict[str, object] = {
        "running": "8x8",
        "waiting": "5..60x8",
        "kv_usage": "0.1x8",
        "preemptions": "0x8",
        "finished": "0..35x8",
        "prompt_tokens": "0..17500x8",
        "generation_tokens": "0..8750x8",
        "prompt_length": [[500] * 5] * 7,
        "generation_length": [[250] * 5] * 7,
        "itl": [[0.01] * 1250] * 7,
        "queue_time": [[8.0] * 5] * 7,
        "prefill_time": [[0.1] * 5] * 7,
        "decode_time": [[2.5] * 5] * 7,
        "e2e": [[10.6] * 5] * 7,
        "ttft": [[8.1] * 5] * 7,
    }
    return window(**(series | changed))  # type: ignore[arg-type]


def test_a_queue_at_the_running_limit_with_room_in_the_cache_is_the_batch_limit() -> None:
    diagnosis = diagnose(queued(), told({Knob.MAX_NUM_SEQS: 8}))
    assert [finding.cause for finding in diagnosis.findings] == [Cause.BATCH_LIMIT]
    finding = diagnosis.findings[0]
    assert finding.severity is Severity.CRITICAL
    assert (finding.evidence[0].value, finding.evidence[0].limit) == (8, 8)


def test_a_flat_running_count_under_a_queue_lets_the_limit_be_inferred_with_less_confidence() -> None:
    inferred, known = diagnose(queued(), UNKNOWN), diagnose(queued(), told({Knob.MAX_NUM_SEQS: 8}))
    assert [finding.cause for finding in inferred.findings] == [Cause.BATCH_LIMIT]
    assert inferred.findings[0].confidence < known.findings[0].confidence
    assert "inferred" in inferred.findings[0].description


def test_an_unknown_limit_is_a_blind_spot_unless_its_cause_was_found_all_the_same() -> None:
    idle = window(running="0x6", waiting="0x6", kv_usage="0x6")
    assert Cause.BATCH_LIMIT in {spot.subject for spot in diagnose(idle, UNKNOWN).blind_spots}
    assert Cause.BATCH_LIMIT not in {spot.subject for spot in diagnose(queued(), UNKNOWN).blind_spots}


def test_a_limit_below_every_default_is_not_inferred_when_the_flags_are_known_not_to_set_it() -> None:
    assert Cause.BATCH_LIMIT not in causes(queued(), told({}, {Knob.MAX_NUM_SEQS: 128}))


def test_a_queue_far_below_the_running_limit_with_room_in_the_steps_waits_for_something_unknown() -> None:
    diagnosis = diagnose(queued(), told({Knob.MAX_NUM_SEQS: 256, Knob.MAX_NUM_BATCHED_TOKENS: 8192}))
    assert diagnosis.findings == ()
    assert "queue" in {spot.subject for spot in diagnosis.blind_spots}


def test_a_queue_near_the_running_limit_but_seldom_at_it_is_not_the_batch_limit() -> None:
    nearly = queued(running="8 9 8 7 9 8 8 7")
    assert causes(nearly, told({Knob.MAX_NUM_SEQS: 10})) == []


def test_slots_that_short_answers_leave_empty_for_a_step_still_count_as_taken() -> None:
    short: dict[str, object] = {"decode_time": [[0.3] * 5] * 7, "prefill_time": [[0.03] * 5] * 7}
    churning = queued(running="56 60 54 58 57 55 59 55", itl=[[0.03] * 1250] * 7, **short)
    assert causes(churning, told({Knob.MAX_NUM_SEQS: 64})) == [Cause.BATCH_LIMIT]


def test_on_a_server_that_reads_prompts_all_the_time_only_the_very_same_count_lets_a_limit_be_inferred() -> None:
    reads: dict[str, object] = {"prefill_time": [[1.0] * 5] * 7}
    assert causes(queued(**reads)) == [Cause.BATCH_LIMIT]
    fairly_still = queued(running="8 8 7 8 8 8 7 8", **reads)
    assert causes(fairly_still) == []
    assert causes(fairly_still, told({Knob.MAX_NUM_SEQS: 8})) == [Cause.BATCH_LIMIT]


def test_the_limit_holds_for_each_rank_of_a_server() -> None:
    two_ranks = queued(running={"0": "4x8", "1": "4x8"}, waiting={"0": "0..30x8", "1": "5..30x8"})
    finding = diagnose(two_ranks, told({Knob.MAX_NUM_SEQS: 4})).findings[0]
    assert (finding.cause, finding.evidence[0].limit) == (Cause.BATCH_LIMIT, 8)
    assert causes(two_ranks, told({Knob.MAX_NUM_SEQS: 8})) == []
    assert causes(two_ranks) == []


def test_the_tighter_of_two_limits_is_the_one_that_holds() -> None:
    finding = diagnose(queued(), told({Knob.MAX_NUM_SEQS: 64, Knob.MAX_ACTIVE_SEQS: 8})).findings[0]
    assert (finding.cause, finding.evidence[0].limit) == (Cause.BATCH_LIMIT, 8)


def test_a_count_that_wavers_under_a_queue_lets_no_limit_be_inferred() -> None:
    assert causes(queued(running="72 77 70 75 68 74 71 76", prefill_time=[[0.01] * 5] * 7)) == []


def test_a_few_scrapes_let_no_limit_be_inferred() -> None:
    assert causes(queued(waiting="0x5 9x3", running="3x5 8x3")) == []


def test_prompts_too_large_for_what_is_free_are_held_back_by_the_cache_however_still_the_count() -> None:
    large = queued(running="2x8", kv_usage="0.65x8", kv_capacity="1300x8")
    assert causes(large) == [Cause.KV_CAPACITY]


def test_what_an_engine_reserves_ahead_fills_the_cache_before_it_is_used() -> None:
    growing: dict[str, object] = {"running": "7 8 7 6 7 8 7 7", "kv_usage": "0.6x8", "kv_capacity": "6000x8"}
    assert causes(queued(**growing, engine="sglang")) == [Cause.KV_CAPACITY]
    assert causes(queued(**growing, engine="vllm")) == []


def test_a_short_burst_that_drains_is_no_finding() -> None:
    assert causes(queued(waiting="0 9 4 0 0 0 0 0"), told({Knob.MAX_NUM_SEQS: 8})) == []


def test_a_queue_is_held_against_all_the_time_in_which_requests_were_served() -> None:
    gone: dict[str, object] = {"waiting": "60 30 9 0x5", "running": "8 8 8 0x5"}
    config = told({Knob.MAX_NUM_SEQS: 8})
    assert causes(queued(**gone, finished="0 20 40 60 70 80 90 100"), config) == []
    assert causes(queued(**gone, finished="0 20 40 60 60 60 60 60"), config) == [Cause.BATCH_LIMIT]


def test_a_queue_that_is_served_down_from_its_peak_is_no_finding_however_long_that_takes() -> None:
    config = told({Knob.MAX_NUM_SEQS: 8})
    draining: dict[str, object] = {"waiting": "60..4x8", "finished": "0..100x8"}
    diagnosis = diagnose(queued(**draining), config)
    assert diagnosis.findings == ()
    assert any("drains" in spot.reason for spot in diagnosis.blind_spots if spot.subject == "queue")
    evicting: dict[str, object] = {"kv_usage": "0.97x8", "preemptions": "0..40x8"}
    assert causes(queued(**draining, **evicting), told({Knob.MAX_NUM_SEQS: 256})) == []
    many: dict[str, object] = {"finished": "0..700x8", "waiting": "400..9x8"}
    assert causes(flooded(**many), USUAL) == []
    partly_given_up: dict[str, object] = {"waiting": "900 850 400 350 300 250 200 150", "finished": "0..900x8"}
    assert causes(queued(**partly_given_up), config) == []
    slowly: dict[str, object] = {"waiting": "140..2x8", "finished": "0..900x8"}
    assert causes(queued(**slowly), config) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"waiting": "60..4x8", "finished": "0..35x8"},
        {"waiting": "60 57 61 55 58 54 57 53", "finished": "0..100x8"},
        {"waiting": "810 760 700 745 790 735 690 705", "finished": "0..200x8"},
        {"waiting": "60..40x8", "finished": "0..700x8"},
        {"waiting": "60..4x8", "finished": "0..100x8", "running": "4..60x8"},
        {"waiting": "60x6 30 4", "finished": "0..200x8"},
    ],
    ids=[
        "given up",
        "wandering by chance",
        "wandering where many give up",
        "nearly as many come as are served",
        "moved into the batch",
        "standing for most of the time",
    ],
)
def test_a_queue_that_falls_otherwise_is_still_one(changed: dict[str, object]) -> None:
    assert causes(queued(**changed, kv_usage="0.97x8"), told({Knob.MAX_NUM_SEQS: 256})) == [Cause.KV_CAPACITY]


def test_a_queue_that_stood_for_most_of_the_window_is_told_although_it_drains_now() -> None:
    config = told({Knob.MAX_NUM_SEQS: 8})
    long: dict[str, object] = {"running": "8x12", "kv_usage": "0.1x12", "preemptions": "0x12", "finished": "0..200x12"}
    tokens: dict[str, object] = {"prompt_tokens": "0..100000x12", "generation_tokens": "0..50000x12"}
    lives = {
        name: [[seconds] * 18] * 11
        for name, seconds in (("queue_time", 8.0), ("prefill_time", 0.1), ("decode_time", 2.5), ("e2e", 10.6))
    }
    others = dict.fromkeys(("prompt_length", "generation_length", "itl", "ttft"))
    stood = queued(**long, **tokens, **lives, **others, waiting="60x8 40 25 12 0")
    assert causes(stood, config) == [Cause.BATCH_LIMIT]
    passed = queued(**long, **tokens, **lives, **others, waiting="0x4 10 60 50 40 30 20 10 4")
    assert causes(passed, config) == []


def test_a_full_cache_under_a_queue_that_costs_next_to_nothing_is_no_shortage() -> None:
    quick: dict[str, object] = {"queue_time": [[0.05] * 5] * 7, "e2e": [[2.65] * 5] * 7, "finished": "0..700x8"}
    assert causes(queued(kv_usage="0.97x8", waiting="1x8", **quick), told({Knob.MAX_NUM_SEQS: 256})) == []


def test_a_wait_that_is_booked_for_all_who_came_counts_and_not_what_scrapes_happened_to_meet() -> None:
    met: dict[str, object] = {"kv_usage": "0.97x8", "waiting": "9x8", "finished": "0..700x8"}
    booked = queued(**met, queue_time=[[0.05] * 100] * 7, e2e=[[2.65] * 100] * 7)
    assert causes(booked, told({Knob.MAX_NUM_SEQS: 256})) == []
    still_here = queued(**met | {"finished": "0..35x8"}, queue_time=[[0.05] * 5] * 7, e2e=[[2.65] * 5] * 7)
    assert causes(still_here, told({Knob.MAX_NUM_SEQS: 256})) == [Cause.KV_CAPACITY]


def test_running_at_the_limit_with_nobody_waiting_is_no_finding() -> None:
    quiet = queued(waiting="0x8", queue_time=[[0.0] * 5] * 7, e2e=[[2.6] * 5] * 7, ttft=[[0.1] * 5] * 7)
    assert causes(quiet, told({Knob.MAX_NUM_SEQS: 8})) == []


def test_requests_deferred_for_other_reasons_do_not_wait_for_room() -> None:
    assert causes(queued(waiting_deferred="5..60x8"), told({Knob.MAX_NUM_SEQS: 8})) == []


def test_evictions_with_a_full_cache_are_a_shortage_of_kv_cache_and_explain_the_queue() -> None:
    starved = queued(kv_usage="0.97x8", preemptions="0..40x8")
    diagnosis = diagnose(starved, told({Knob.MAX_NUM_SEQS: 8}))
    assert [finding.cause for finding in diagnosis.findings] == [Cause.KV_CAPACITY]
    assert diagnosis.findings[0].severity.rank >= Severity.HIGH.rank


def test_a_full_cache_that_holds_requests_back_is_a_shortage_without_any_eviction() -> None:
    assert causes(queued(kv_usage="0.97x8"), told({Knob.MAX_NUM_SEQS: 256})) == [Cause.KV_CAPACITY]


def test_a_full_cache_at_the_running_limit_holds_nobody_back_alone() -> None:
    assert causes(queued(kv_usage="0.95x8"), told({Knob.MAX_NUM_SEQS: 8})) == []


def test_a_full_cache_without_eviction_or_queue_is_a_well_packed_engine() -> None:
    packed = queued(kv_usage="0.97x8", waiting="0x8", queue_time=[[0.0] * 5] * 7)
    assert causes(packed, told({Knob.MAX_NUM_SEQS: 256})) == []


def test_one_eviction_in_a_long_window_is_no_shortage() -> None:
    rare = queued(waiting="0x8", kv_usage="0.95x8", preemptions="0x7 1", every_s=60.0)
    assert causes(rare, told({Knob.MAX_NUM_SEQS: 256})) == []


def test_evictions_of_a_negligible_share_of_the_requests_are_no_shortage() -> None:
    many = queued(waiting="0x8", kv_usage="0.95x8", preemptions="0..3x8", finished="0..700x8")
    assert causes(many, told({Knob.MAX_NUM_SEQS: 256})) == []


def test_a_shortage_without_a_queue_is_as_severe_as_its_evictions_and_says_where_its_usage_was_seen() -> None:
    calm = queued(waiting="0x8", kv_usage="0.95x8", preemptions="0..4x8", queue_time=[[0.0] * 5] * 7)
    (finding,) = diagnose(calm, told({Knob.MAX_NUM_SEQS: 256})).findings
    assert (finding.cause, finding.severity) == (Cause.KV_CAPACITY, Severity.MEDIUM)
    assert finding.evidence[0].what == "at its peak"
    assert "wait" not in finding.description


def test_a_few_evictions_in_a_long_life_are_no_shortage_today() -> None:
    old = lifetime(queued(waiting="0x8", kv_usage="0.95x8", preemptions="0..3x8", finished="0..9000x8").snapshots[-1])
    assert causes(old) == []


def flooded(**changed: object) -> Window:
    """Prompts fill steps of 8,192 tokens, few run, the queue grows, and the KV cache has room."""
    series: dict[str, object] = {
        "running": "30 33 28 35 31 29 34 32",
        "waiting": "5..60x8",
        "kv_usage": "0.3x8",
        "preemptions": "0x8",
        "finished": "0..350x8",
        "prompt_tokens": "0..700000x8",
        "generation_tokens": "0..14000x8",
        "prompt_length": [[2000] * 50] * 7,
        "generation_length": [[40] * 50] * 7,
        "itl": [[0.4] * 2000] * 7,
        "queue_time": [[3.0] * 50] * 7,
        "prefill_time": [[0.5] * 50] * 7,
        "decode_time": [[15.6] * 50] * 7,
        "e2e": [[19.1] * 50] * 7,
        "ttft": [[3.5] * 50] * 7,
    }
    return window(**(series | changed))  # type: ignore[arg-type]


USUAL = told({Knob.MAX_NUM_BATCHED_TOKENS: 8192, Knob.MAX_NUM_SEQS: 1024})


def test_a_growing_queue_with_full_steps_of_the_usual_size_is_overload() -> None:
    assert causes(flooded(), USUAL) == [Cause.OVERLOAD]
    assert causes(flooded(running="60 30 45 61 33 58 40 35")) == [Cause.OVERLOAD]


def test_slow_full_steps_are_not_hidden_by_many_quick_ones_at_the_end() -> None:
    quick_end = [[0.4] * 200] * 6 + [[0.01] * 20_000]
    assert causes(flooded(itl=quick_end, prompt_tokens="0..600000x7 600100"), USUAL) == [Cause.OVERLOAD]


def test_a_server_so_full_that_nobody_finishes_is_overloaded_too() -> None:
    unfinished = {
        "finished": "0x8",
        "prompt_length": None,
        "generation_length": None,
        "running": "30 35 40 45 50 55 60 65",
    }
    lives: dict[str, object] = {"queue_time": None, "prefill_time": None, "decode_time": None, "e2e": None}
    diagnosis = diagnose(flooded(**unfinished, **lives), USUAL)
    assert [finding.cause for finding in diagnosis.findings] == [Cause.OVERLOAD]
    assert "0.00 are served" in diagnosis.findings[0].description


def test_steps_full_of_arithmetic_are_overload_whatever_else_is_full() -> None:
    assert causes(flooded(kv_usage="0.97x8", preemptions="0..40x8"), USUAL) == [Cause.OVERLOAD]
    assert causes(flooded(kv_usage=None), USUAL) == [Cause.OVERLOAD]
    at_limit = told({Knob.MAX_NUM_BATCHED_TOKENS: 8192, Knob.MAX_NUM_SEQS: 200})
    assert causes(flooded(running="200x8"), at_limit) == [Cause.OVERLOAD]


def test_a_queue_that_keeps_its_length_because_clients_give_up_is_overload_too() -> None:
    assert causes(flooded(waiting="50x8"), USUAL) == [Cause.OVERLOAD]


def test_a_queue_behind_full_steps_that_costs_next_to_nothing_is_no_finding_unless_others_are_turned_away() -> None:
    short = flooded(waiting="1x8", queue_time=[[0.1] * 50] * 7, e2e=[[16.2] * 50] * 7)
    assert causes(short, USUAL) == []
    refusing = {"waiting": "1x8", "queue_time": [[0.1] * 50] * 7, "e2e": [[16.2] * 50] * 7, "rejected": "0..90x8"}
    assert causes(flooded(**refusing), USUAL) == [Cause.OVERLOAD]


def test_work_that_a_prefix_cache_might_spare_is_not_called_overload() -> None:
    off = told({Knob.MAX_NUM_BATCHED_TOKENS: 8192, Knob.MAX_NUM_SEQS: 1024, Knob.ENABLE_PREFIX_CACHING: False})
    assert causes(flooded(), off) == [Cause.PREFIX_CACHE]


def reading(**changed: object) -> Window:
    """Prompts of 4,000 tokens are read in steps of about 500; few run, several wait."""
    series: dict[str, object] = {
        "running": "3 2 4 3 2 4 3 2",
        "waiting": "0 3 5 4 6 5 7 6",
        "kv_usage": "0.05x8",
        "preemptions": "0x8",
        "finished": "0..35x8",
        "prompt_tokens": "0..680000x8",
        "generation_tokens": "0..2100x8",
        "prompt_length": [[4000] * 5] * 7,
        "generation_length": [[60] * 5] * 7,
        "itl": [[0.025] * 300] * 7,
        "queue_time": [[2.0] * 5] * 7,
        "prefill_time": [[0.4] * 5] * 7,
        "decode_time": [[1.5] * 5] * 7,
        "e2e": [[3.9] * 5] * 7,
        "ttft": [[2.4] * 5] * 7,
    }
    return window(**(series | changed))  # type: ignore[arg-type]


def test_filled_steps_at_a_small_token_budget_are_the_prefill_budget() -> None:
    config = told({Knob.MAX_NUM_BATCHED_TOKENS: 512}, {Knob.MAX_NUM_SEQS: 128})
    assert causes(reading(), config) == [Cause.PREFILL_BUDGET]


def test_prompts_that_wait_among_the_running_for_small_steps_are_the_prefill_budget() -> None:
    unqueued = {
        "waiting": "0x8",
        "queue_time": [[0.0] * 5] * 7,
        "prefill_time": [[2.0] * 5] * 7,
        "e2e": [[3.5] * 5] * 7,
    }
    diagnosis = diagnose(reading(**unqueued), told({Knob.MAX_NUM_BATCHED_TOKENS: 512}, {Knob.MAX_NUM_SEQS: 128}))
    assert [finding.cause for finding in diagnosis.findings] == [Cause.PREFILL_BUDGET]
    assert diagnosis.findings[0].severity is Severity.CRITICAL
    assert "1.6 prompts at a time" in diagnosis.findings[0].description
    assert causes(reading(**unqueued)) == []
    now_and_then = unqueued | {"prefill_time": [[0.4] * 5] * 7, "e2e": [[1.9] * 5] * 7}
    assert causes(reading(**now_and_then), told({Knob.MAX_NUM_BATCHED_TOKENS: 512})) == []


def test_filled_steps_at_a_usual_token_budget_are_not_a_setting() -> None:
    config = told({Knob.MAX_NUM_BATCHED_TOKENS: 8192}, {Knob.MAX_NUM_SEQS: 128})
    assert Cause.PREFILL_BUDGET not in causes(reading(), config)


def test_a_budget_that_is_switched_off_is_not_the_prefill_budget() -> None:
    assert Cause.PREFILL_BUDGET not in causes(reading(), told({Knob.MAX_NUM_BATCHED_TOKENS: -1}))


def test_a_small_budget_is_inferred_only_from_steps_that_no_usual_budget_allows() -> None:
    assert causes(reading()) == [Cause.PREFILL_BUDGET]
    assert causes(reading(prefill_time=[[0.2] * 5] * 7)) == []
    backlog: dict[str, object] = {"prefill_time": [[2.0] * 5] * 7, "e2e": [[5.5] * 5] * 7}
    assert causes(reading(**backlog)) == [Cause.PREFILL_BUDGET]
    larger: dict[str, object] = {"prompt_length": [[9000] * 5] * 7, "itl": [[0.075] * 300] * 7}
    assert causes(reading(**backlog | larger)) == [Cause.OVERLOAD]


def test_no_small_budget_is_inferred_where_prompts_may_be_read_one_at_a_time_by_a_running_limit() -> None:
    single = reading(running="1x8", prefill_time=[[2.0] * 5] * 7, e2e=[[5.5] * 5] * 7)
    assert causes(single) == []


def test_steps_well_below_the_budget_are_not_the_prefill_budget() -> None:
    config = told({Knob.MAX_NUM_BATCHED_TOKENS: 1536}, {Knob.MAX_NUM_SEQS: 128})
    assert Cause.PREFILL_BUDGET not in causes(reading(), config)


def decoding(**changed: object) -> Window:
    """Ever more requests run, each token comes later and later, nobody waits."""
    series: dict[str, object] = {
        "running": "5 20 120 160 200 200 200",
        "waiting": "0x7",
        "kv_usage": "0.01..0.3x7",
        "preemptions": "0x7",
        "finished": "0..60x7",
        "prompt_tokens": "0..6000x7",
        "generation_tokens": "0..60000x7",
        "itl": [[g] * 50 for g in (0.008, 0.014, 0.021, 0.025, 0.027, 0.027)],
    }
    return window(**(series | changed))  # type: ignore[arg-type]


def test_tokens_that_slow_down_with_the_batch_are_decode_bandwidth() -> None:
    assert causes(decoding(), told({Knob.MAX_NUM_SEQS: 256})) == [Cause.DECODE_BANDWIDTH]


def test_tokens_that_slow_down_with_a_steady_batch_are_something_else() -> None:
    assert causes(decoding(running="60x7"), told({Knob.MAX_NUM_SEQS: 256})) == []


def test_tokens_that_slow_down_while_prompts_are_read_are_not_put_on_decoding() -> None:
    assert causes(decoding(prompt_tokens="0..90000x7"), told({Knob.MAX_NUM_SEQS: 256})) == []


def test_a_batch_that_was_heavy_for_a_moment_only_is_not_put_on_decoding() -> None:
    burst = {"running": "5 200 60 20 8 6 5", "itl": [[g] * 50 for g in (0.014, 0.02, 0.012, 0.009, 0.008, 0.0075)]}
    assert causes(decoding(**burst), told({Knob.MAX_NUM_SEQS: 256})) == []


def test_what_one_request_alone_would_see_is_not_read_off_a_line_seen_only_far_above() -> None:
    far = {"running": "30 30 62 62 50 48 46", "itl": [[0.01 + 0.00037 * r] * 50 for r in (30, 46, 62, 56, 49, 47)]}
    assert causes(decoding(**far), told({Knob.MAX_NUM_SEQS: 256})) == []


def test_tokens_that_are_slow_while_requests_wait_are_not_put_on_decoding() -> None:
    burst = {
        "running": "10 12 200 200 12 10 11 12 10 11 10",
        "waiting": "0 0 90 40 0 0 0 0 0 0 0",
        "itl": [[g] * 50 for g in (0.006, 0.06, 0.08, 0.06, 0.006, 0.006, 0.006, 0.006, 0.006, 0.006)],
    }
    grown = {"finished": "0..60x11", "prompt_tokens": "0..6000x11", "generation_tokens": "0..60000x11"}
    still = {"kv_usage": "0.1x11", "preemptions": "0x11"}
    assert causes(decoding(**burst, **grown, **still), told({Knob.MAX_NUM_SEQS: 256})) == []


def stalling(**changed: object) -> Window:
    """Ten decode; now and then a prompt of 3,000 tokens is read, and all ten stand still for a third of a second."""
    series: dict[str, object] = {
        "running": "10x8",
        "waiting": "0x8",
        "kv_usage": "0.2x8",
        "preemptions": "0x8",
        "finished": "0..14x8",
        "prompt_tokens": "0..42000x8",
        "generation_tokens": "0..8400x8",
        "prompt_length": [[3000] * 2] * 7,
        "generation_length": [[600] * 2] * 7,
        "prefill_time": [[0.35] * 2] * 7,
        "decode_time": [[6.0] * 2] * 7,
        "queue_time": [[0.0] * 2] * 7,
        "e2e": [[6.35] * 2] * 7,
        "itl": [[0.008] * 1170 + [0.35] * 30] * 7,
    }
    return window(**(series | changed))  # type: ignore[arg-type]


def test_few_long_gaps_among_many_short_ones_while_long_prompts_are_read_are_interference() -> None:
    (finding,) = diagnose(stalling(), UNKNOWN).findings
    assert (finding.cause, finding.symptom) == (Cause.LONG_PROMPT_INTERFERENCE, Symptom.HIGH_LATENCY)
    assert finding.evidence[0].value > 3


def test_an_engine_that_times_its_reading_steps_apart_shows_the_same() -> None:
    steps: dict[str, object] = {
        "itl": [[0.008] * 500] * 7,
        "decode_steps": "0..3500x8",
        "prefill_steps": "0..28x8",
        "prefill_time": [[0.3] * 4] * 7,
    }
    assert causes(stalling(**steps, engine="tgi")) == [Cause.LONG_PROMPT_INTERFERENCE]
    assert causes(stalling(**steps | {"prefill_time": [[0.01] * 4] * 7}, engine="tgi")) == []


def test_a_step_that_reads_holds_up_only_those_who_are_not_read_in_it() -> None:
    steps: dict[str, object] = {
        "itl": [[0.008] * 500] * 7,
        "decode_steps": "0..3500x8",
        "prefill_steps": "0..28x8",
        "prefill_time": [[0.16] * 4] * 7,
        "edges": {name: [0.004, 0.012, 0.15, 0.17, inf] for name in ("itl", "prefill_time")},
    }
    assert causes(stalling(**steps, engine="tgi")) == [Cause.LONG_PROMPT_INTERFERENCE]
    assert causes(stalling(**steps, running="4x8", engine="tgi")) == []


@pytest.mark.parametrize(
    ("changed", "config"),
    [
        ({"itl": [[0.016] * 1200] * 7}, UNKNOWN),
        ({"prompt_length": [[300] * 2] * 7}, UNKNOWN),
        ({}, told({Knob.MAX_NUM_BATCHED_TOKENS: 512, Knob.MAX_NUM_SEQS: 256})),
        ({"decode_time": [[0.2] * 2] * 7, "generation_length": [[20] * 2] * 7}, UNKNOWN),
        ({"kv_usage": "0.97x8", "preemptions": "0..2x8"}, UNKNOWN),
        ({"itl": [[0.008] * 1200] * 3 + [[0.02] * 1200] * 4}, UNKNOWN),
        ({"itl": [[0.35], *[[]] * 6]}, UNKNOWN),
        ({"running": "1x8"}, UNKNOWN),
        ({"prefill_steps": "0..7x8", "decode_steps": "0..8400x8", "running": "3x8"}, UNKNOWN),
    ],
    ids=[
        "gaps all alike",
        "short prompts",
        "small pieces already",
        "answers too short to be held up",
        "evictions",
        "another pace from one moment on",
        "hardly a token",
        "nobody else",
        "most of them read together",
    ],
)
def test_other_gaps_are_no_interference(changed: dict[str, object], config: EffectiveConfig) -> None:
    assert Cause.LONG_PROMPT_INTERFERENCE not in causes(stalling(**changed), config)


def jumping(**changed: object) -> Window:
    """Three run all the time; from the fifth stretch on each token takes three times as long."""
    series: dict[str, object] = {
        "running": "3x9",
        "waiting": "0x9",
        "kv_usage": "0.05x9",
        "preemptions": "0x9",
        "prompt_tokens": "0..2400x9",
        "generation_tokens": "0..4000x9",
        "itl": [[0.01] * 500] * 4 + [[0.03] * 170] * 4,
    }
    return window(**(series | changed))  # type: ignore[arg-type]


def test_tokens_that_slow_down_from_one_moment_on_with_no_more_to_do_are_the_machines_doing() -> None:
    (finding,) = diagnose(jumping(), UNKNOWN).findings
    assert (finding.cause, finding.severity) == (Cause.HOST_BOUND, Severity.HIGH)
    assert "10 ms apart and from one moment on 30 ms" in finding.description
    assert causes(jumping(running="60x9")) == [Cause.HOST_BOUND]
    rising = {"running": "1 2 2 3 5 8 12 18 26", "itl": [[g] * 100 for g in (0.03, 0.032, 0.04, 0.5, 2, 2, 2, 2)]}
    assert causes(jumping(**rising)) == [Cause.HOST_BOUND]


@pytest.mark.parametrize(
    "changed",
    [
        {"itl": [[0.03] * 170] * 4 + [[0.01] * 500] * 4},
        {"itl": [[g] * 200 for g in (0.008, 0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.035)]},
        {"running": "20x5 60x4"},
        {"prompt_tokens": "0 100 200 300 400 2000 3600 5200 6800"},
        {"itl": [[0.01] * 500] * 4 + [[0.03] * 170, [0.01] * 500] * 2},
        {"itl": [[0.01] * 500] * 6 + [[0.03] * 170] * 2},
        {"waiting": "9x9", "running": "3 4 2 4 3 2 4 3 2"},
        {"waiting": "0x6 9x3"},
        {"preemptions": "0..9x9"},
    ],
    ids=[
        "quicker",
        "slower little by little",
        "three times the batch",
        "many times the prompts",
        "now and then",
        "too short to tell",
        "a queue",
        "a queue at the end",
        "evictions",
    ],
)
def test_other_changes_of_pace_are_not_put_on_the_machine(changed: dict[str, object]) -> None:
    assert Cause.HOST_BOUND not in causes(jumping(**changed))


def test_a_front_end_at_the_end_of_its_core_is_named_and_one_with_time_left_is_not() -> None:
    steady: dict[str, object] = {"itl": [[0.01] * 500] * 8}
    (finding,) = diagnose(jumping(**steady, front_end_cpu="0..38x9"), UNKNOWN).findings
    assert (finding.cause, round(finding.evidence[0].value, 2)) == (Cause.HOST_BOUND, 0.95)
    assert causes(jumping(**steady, front_end_cpu="0..20x9")) == []


def idling(**changed: object) -> Window:
    """A request now and then over a quarter of an hour."""
    series: dict[str, object] = {"running": "0 1 0 0 1 0 1 0", "waiting": "0x8", "kv_usage": "0.01x8", "every_s": 120.0}
    return window(**(series | changed))  # type: ignore[arg-type]


def test_a_server_that_mostly_does_nothing_for_long_is_told_and_a_pause_is_not() -> None:
    (finding,) = diagnose(idling(), UNKNOWN).findings
    assert (finding.cause, finding.symptom, finding.severity) == (Cause.UNDERUSED, Symptom.IDLE, Severity.LOW)
    assert causes(idling(every_s=5.0)) == []
    assert causes(idling(running="2 1 0 1 0 1 1 0")) == []
    assert causes(idling(waiting="0 0 1 0 0 0 0 0")) == []


def cut(**changed: object) -> Window:
    """SGLang reads prompts of 1,500 tokens in pieces of 64 all the time; its cache fills, and nobody told its flags."""
    series: dict[str, object] = {
        "running": "9 11 12 12 10 8 10 11",
        "waiting": "0 9 13 18 21 27 31 39",
        "kv_usage": "0.92x8",
        "kv_capacity": "20000x8",
        "finished": "0..21x8",
        "prompt_tokens": "0..31500x8",
        "generation_tokens": "0..126x8",
        "prompt_length": [[1500] * 3] * 7,
        "generation_length": [[6] * 3] * 7,
        "prefill_steps": "0..490x8",
        "decode_steps": "0..70x8",
        "prefill_time": [[0.07] * 3] * 7,
        "itl": [[1.0] * 15] * 7,
        "queue_time": [[9.0] * 3] * 7,
        "e2e": [[20.0] * 3] * 7,
    }
    return window(engine="sglang", **(series | changed))  # type: ignore[arg-type]


def test_steps_that_are_seen_to_read_small_pieces_are_the_budget_whatever_fills_up_meanwhile() -> None:
    (finding,) = diagnose(cut(), UNKNOWN).findings
    assert finding.cause is Cause.PREFILL_BUDGET
    assert finding.evidence[0].limit == pytest.approx(64.3, abs=0.1)
    assert "inferred" in finding.description
    assert causes(cut(running="12x8"), told({Knob.MAX_NUM_SEQS: 12, Knob.MAX_NUM_BATCHED_TOKENS: 64})) == [
        Cause.PREFILL_BUDGET
    ]
    whole: dict[str, object] = {"prefill_steps": "0..21x8", "decode_steps": "0..21x8", "prefill_time": [[1.5] * 3] * 7}
    assert causes(cut(**whole)) == [Cause.OVERLOAD]


def reserving(**changed: object) -> Window:
    """TGI tells no KV usage, only what it has promised away, and requests wait."""
    series: dict[str, object] = {"kv_usage": None, "preemptions": None, "running": "9 11 10 9 10 11 9 10"}
    reserved: dict[str, object] = {"kv_reserved": "12800 13300 13000 12900 13100 13300 12700 13000"}
    return queued(engine="tgi", **(series | reserved | changed))


def test_a_cache_promised_away_holds_requests_back_where_nothing_else_is_told() -> None:
    (finding,) = diagnose(reserving(), UNKNOWN).findings
    assert finding.cause is Cause.KV_CAPACITY
    assert finding.evidence[0].value == pytest.approx(0.98, abs=0.01)
    unlimited = told({}, {Knob.MAX_NUM_SEQS: float("inf")})
    assert causes(reserving(running="10x8", kv_reserved="13000x8"), unlimited) == [Cause.KV_CAPACITY]


def test_a_still_count_is_a_limit_only_where_what_is_reserved_does_not_stand_still_too() -> None:
    changing = "9000 13300 8000 12000 7000 10000 11000 9000"
    assert causes(reserving(running="10x8", kv_reserved=changing)) == [Cause.BATCH_LIMIT]
    assert causes(reserving(running="10x8", kv_reserved="13000x8")) == []


OFF = told({Knob.ENABLE_PREFIX_CACHING: False, Knob.MAX_NUM_SEQS: 1024, Knob.MAX_NUM_BATCHED_TOKENS: 8192})


def test_a_prefix_cache_that_is_off_while_prompts_queue_for_full_steps_is_named() -> None:
    (finding,) = diagnose(flooded(), OFF).findings
    assert (finding.cause, finding.symptom) == (Cause.PREFIX_CACHE, Symptom.CACHE_INEFFICIENCY)
    assert "98% of the computed tokens are prompts'" in finding.description
    assert causes(flooded(waiting="0x8", queue_time=[[0.0] * 50] * 7, prefill_time=[[5.0] * 50] * 7), OFF) == [
        Cause.PREFIX_CACHE
    ]


@pytest.mark.parametrize(
    ("changed", "config"),
    [
        ({}, USUAL),
        ({"prompt_tokens": "0..7000x8"}, OFF),
        ({"waiting": "0x8", "prefill_time": [[0.01] * 50] * 7}, OFF),
        ({"itl": [[0.02] * 2000] * 7, "prefill_time": [[0.01] * 50] * 7}, OFF),
    ],
    ids=["on or unknown", "few prompt tokens", "nobody waits to be read", "steps not full"],
)
def test_a_prefix_cache_that_hardly_matters_is_not_named(changed: dict[str, object], config: EffectiveConfig) -> None:
    assert Cause.PREFIX_CACHE not in causes(flooded(**changed), config)


def drafting(**changed: object) -> Window:
    """Four tokens are drafted for each one generated, and next to none is accepted."""
    series: dict[str, object] = {
        "running": "4x8",
        "waiting": "0x8",
        "kv_usage": "0.1x8",
        "finished": "0..35x8",
        "generation_tokens": "0..7000x8",
        "draft_tokens": "0..28000x8",
        "accepted_tokens": "0..350x8",
    }
    return window(**(series | changed))  # type: ignore[arg-type]


def test_drafts_that_are_refused_all_the_time_are_waste() -> None:
    (finding,) = diagnose(drafting(), UNKNOWN).findings
    assert (finding.cause, finding.severity) == (Cause.SPECULATION_WASTE, Severity.LOW)
    assert "4.0 drafted ones are refused, and 5% of the tokens were drafts" in finding.description
    assert diagnose(drafting(running="32x8"), UNKNOWN).findings[0].severity is Severity.MEDIUM


@pytest.mark.parametrize(
    "changed",
    [
        {"accepted_tokens": "0..3500x8"},
        {"draft_tokens": "0..3500x8"},
        {"generation_tokens": "0..70x8", "draft_tokens": "0..280x8", "accepted_tokens": "0..3x8"},
        {"draft_tokens": None, "accepted_tokens": None},
    ],
    ids=["half accepted", "few drafts", "few tokens", "no speculation"],
)
def test_speculation_that_helps_or_costs_little_is_no_finding(changed: dict[str, object]) -> None:
    diagnosis = diagnose(drafting(**changed), UNKNOWN)
    assert diagnosis.findings == ()
    assert Cause.SPECULATION_WASTE not in {spot.subject for spot in diagnosis.blind_spots}


def test_an_engine_that_never_tells_its_drafts_is_a_blind_spot() -> None:
    mute = drafting(engine="sglang", draft_tokens=None, accepted_tokens=None)
    reasons = [spot.reason for spot in diagnose(mute, UNKNOWN).blind_spots if spot.subject is Cause.SPECULATION_WASTE]
    assert reasons == ["SGLang exports only the last interval's acceptance, no counters of drafted and accepted tokens"]


def failing(**changed: object) -> Window:
    """One request in eleven fails."""
    series: dict[str, object] = {
        "running": "4x8",
        "waiting": "0x8",
        "kv_usage": "0.1x8",
        "finished": "0..700x8",
        "failed": "0..70x8",
        "rejected": "0x8",
    }
    return window(**(series | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("failed", "severity"),
    [("10", Severity.LOW), ("40", Severity.MEDIUM), ("80", Severity.HIGH), ("700", Severity.CRITICAL)],
)
def test_requests_that_fail_are_reported_by_their_share(failed: str, severity: Severity) -> None:
    (finding,) = diagnose(failing(failed=f"0..{failed}x8"), UNKNOWN).findings
    assert (finding.cause, finding.symptom, finding.severity) == (Cause.ERRORS, Symptom.ERROR_RATE, severity)
    assert f"{failed} requests failed" in finding.description


def test_requests_turned_away_are_errors_only_while_nobody_waits() -> None:
    refusing = failing(failed="0x8", rejected="0..70x8")
    assert "70 requests were turned away, 9.1% of all" in diagnose(refusing, UNKNOWN).findings[0].description
    assert causes(failing(failed="0x8", rejected="0..70x8", waiting="20x8", running="4 6 5 7 3 6 5 4")) == []


def test_a_few_failures_are_no_finding() -> None:
    assert causes(failing(failed="0..4x8", finished="0..30x8")) == []
    assert causes(failing(failed="0..6x8")) == []


def test_an_idle_server_has_no_finding_and_full_health() -> None:
    idle = window(running="0x6", waiting="0x6", kv_usage="0x6", preemptions="0x6", finished="7x6")
    diagnosis = diagnose(idle, UNKNOWN)
    assert diagnosis.findings == ()
    assert diagnosis.health == 100


def test_twenty_seconds_to_first_token_with_steady_preemption_is_below_twenty() -> None:
    sick = queued(kv_usage="0.98x8", preemptions="0..30x8", ttft=[[20.0] * 5] * 7, queue_time=[[19.9] * 5] * 7,
                  e2e=[[22.5] * 5] * 7)  # fmt: skip
    health = diagnose(sick, UNKNOWN).health
    assert health is not None
    assert health < 20


def test_without_the_waiting_metric_nothing_is_named_and_the_reason_is_told() -> None:
    diagnosis = diagnose(queued(waiting=None), told({Knob.MAX_NUM_SEQS: 8}))
    assert diagnosis.findings == ()
    assert {spot.subject for spot in diagnosis.blind_spots} >= {Cause.BATCH_LIMIT, Cause.KV_CAPACITY, Cause.OVERLOAD}


def test_one_page_alone_names_what_its_gauges_show_and_says_that_it_is_no_window() -> None:
    page = lifetime(queued(kv_usage="0.98x8", preemptions="0..30x8").snapshots[-1])
    diagnosis = diagnose(page, UNKNOWN)
    assert diagnosis.basis == "since_start"
    assert [finding.cause for finding in diagnosis.findings] == [Cause.KV_CAPACITY]
    assert diagnosis.findings[0].confidence <= 0.5


def test_clients_that_give_up_at_the_end_do_not_hide_how_many_came() -> None:
    cancelled = window(running="2x5 0", waiting="0 10 20 30 40 0", finished="0 10 20 30 40 40", every_s=10.0)
    came = diagnose(cancelled, UNKNOWN).figures["arrivals_per_s"]
    assert came == pytest.approx((4 * 10 + 40) / 50)


def test_clients_that_give_up_all_the_time_show_in_the_length_of_the_queue() -> None:
    standing = window(
        running="2x9", waiting="0..24x4 30x5", finished="0..80x9", queue_time=[[6.0] * 10] * 8, every_s=10.0
    )
    assert diagnose(standing, UNKNOWN).figures["arrivals_per_s"] == pytest.approx(30 / 6)


def test_a_restart_inside_the_window_is_told() -> None:
    restarted = queued(started_at_s=[100.0] * 4 + [900.0] * 4)
    assert any("restarted" in spot.reason for spot in diagnose(restarted, UNKNOWN).blind_spots)


def test_a_growing_queue_is_longer_than_it_was_for_those_whose_wait_is_booked() -> None:
    growing = window(
        running="2x6", waiting="0..100x6", finished="0 10 20 30 40 50", queue_time=[[1.0] * 10] * 5, every_s=10.0
    )
    assert diagnose(growing, UNKNOWN).figures["arrivals_per_s"] == pytest.approx((50 + 100) / 50)


def test_a_server_with_work_that_gives_no_answer_has_no_score() -> None:
    stuck = window(
        running="2x6", waiting="50x6", kv_usage="0.9x6", preemptions="0x6", finished="7x6", ttft=[[]] * 5, itl=[[]] * 5
    )
    assert diagnose(stuck, UNKNOWN).health is None


def test_a_server_whose_time_runs_faster_than_ours_is_read_alike() -> None:
    assert causes(queued(finished="0..700x8", prompt_tokens="0..350000x8", generation_tokens="0..175000x8")) == [
        Cause.BATCH_LIMIT
    ]
