from dataclasses import replace

import pytest

from perfagent.twin import Replica, Request, SchedulerRules, StepTime
from unit.twin.trace import Trace

SECOND_A_STEP = StepTime(
    base_s=1.0, per_token_s=0.0, ridge_tokens=0, per_sequence_s=0, per_context_token_s=0, per_pair_s=0, prompt_step_s=0
)
RULES = SchedulerRules(
    max_num_seqs=8,
    max_num_batched_tokens=64,
    kv_blocks=16,
    block_size=4,
    prefix_caching=False,
    async_scheduling=False,
)


def play(rules: SchedulerRules, *requests: Request, to_s: float = 1000.0) -> tuple[Trace, Replica]:
    trace = Trace()
    replica = Replica(rules, SECOND_A_STEP, trace)
    for request in requests:
        replica.submit(request)
    replica.advance(to_s)
    return trace, replica


def test_one_request_takes_a_step_for_its_prompt_and_one_per_further_token() -> None:
    trace, replica = play(RULES, Request("a", 5.0, prompt_tokens=10, output_tokens=3))
    assert [step[2:] for step in trace.steps] == [(10, 0), (0, 1), (0, 1)]
    assert trace.ttfts["a"] == (6.0, 0.0, 1.0)
    assert trace.gaps == [(7.0, 1.0, 1), (8.0, 1.0, 1)]
    record = trace.records["a"]
    assert (record.finished_s, record.e2e_s, record.prefill_s, record.decode_s) == (8.0, 3.0, 1.0, 2.0)
    assert replica.idle
    assert replica.kv_usage == 0


def test_an_arrival_during_a_step_joins_the_next() -> None:
    trace, _ = play(RULES, Request("a", 0.0, 10, 9), Request("b", 1.5, 10, 1))
    assert trace.ttfts["b"] == (3.0, 0.0, 1.5)


def test_with_async_scheduling_an_arrival_joins_the_step_after_next() -> None:
    rules = replace(RULES, async_scheduling=True)
    trace, _ = play(rules, Request("a", 0.0, 10, 9), Request("b", 1.5, 10, 1))
    assert trace.ttfts["b"] == (4.0, 0.0, 2.5)


def test_with_async_scheduling_a_finished_request_holds_its_slot_one_step_longer() -> None:
    rules = replace(RULES, max_num_seqs=2)
    requests = Request("a", 0.0, 10, 2), Request("c", 0.0, 10, 5), Request("b", 0.5, 10, 1)
    assert play(rules, *requests)[0].ttfts["b"][0] == 3.0
    assert play(replace(rules, async_scheduling=True), *requests)[0].ttfts["b"][0] == 4.0


def test_a_long_prompt_is_computed_in_chunks_beside_decoding_sequences() -> None:
    rules = replace(RULES, max_num_batched_tokens=8)
    trace, _ = play(rules, Request("a", 0.0, 8, 5), Request("b", 0.5, 20, 1))
    assert [step[2:] for step in trace.steps] == [(8, 0), (7, 1), (7, 1), (6, 1), (0, 1)]


def test_a_piece_of_a_prompt_reads_what_was_computed_before_it() -> None:
    per_token = replace(SECOND_A_STEP, per_context_token_s=1.0)

    def durations(*requests: Request) -> list[float]:
        trace = Trace()
        replica = Replica(replace(RULES, max_num_batched_tokens=8, prefix_caching=True), per_token, trace)
        for request in requests:
            replica.submit(request)
        replica.advance(1000.0)
        return [step[1] for step in trace.steps]

    assert durations(Request("a", 0.0, 20, 1)) == [1.0, 9.0, 17.0]
    shared = [Request("a", 0.0, 20, 1, "p", 16), Request("b", 100.0, 20, 1, "p", 16)]
    assert durations(*shared) == [1.0, 9.0, 17.0, 17.0]


def test_without_chunking_a_prompt_waits_for_a_step_that_holds_it_whole() -> None:
    rules = replace(RULES, max_num_batched_tokens=20, chunked_prefill=False)
    trace, _ = play(rules, Request("a", 0.0, 12, 1), Request("b", 0.0, 12, 1))
    assert [step[2] for step in trace.steps] == [12, 12]


def test_when_prompts_do_not_mix_decoding_waits_for_them() -> None:
    rules = replace(RULES, mixed=False)
    trace, _ = play(rules, Request("a", 0.0, 8, 4), Request("b", 1.5, 8, 2))
    assert [step[2:] for step in trace.steps] == [(8, 0), (0, 1), (8, 0), (0, 2), (0, 1)]
    assert (4.0, 2.0, 1) in trace.gaps  # the second token of `a` came at 2, its third at 4
    assert (4.0, 1.0, 1) in trace.gaps  # the first token of `b` came at 3


def test_the_batch_limit_makes_requests_wait_in_order() -> None:
    rules = replace(RULES, max_num_seqs=2)
    trace, replica = play(rules, *(Request(name, 0.0, 4, 3) for name in "abc"), to_s=2.5)
    assert (replica.running, replica.waiting) == (2, 1)
    replica.advance(100)
    assert trace.ttfts["c"][:2] == (4.0, 3.0)


def test_nobody_enters_whose_sequence_does_not_fit_and_nobody_overtakes() -> None:
    rules = replace(RULES, kv_blocks=4)
    requests = Request("a", 0.0, 8, 4), Request("b", 0.0, 12, 1), Request("c", 0.0, 4, 1)
    trace, replica = play(rules, *requests, to_s=1.5)
    assert (replica.running, replica.waiting) == (1, 2)
    assert replica.kv_usage == 0.75
    replica.advance(100)
    assert list(trace.records) == ["a", "b", "c"]


def test_short_of_blocks_the_last_admitted_is_preempted_and_computes_its_tokens_again() -> None:
    rules = replace(RULES, kv_blocks=5)
    trace, replica = play(rules, Request("a", 0.0, 8, 8), Request("b", 0.0, 4, 6))
    assert trace.preemptions == ["b"]
    assert replica.preemptions == 1
    assert trace.ttfts["b"][0] == 1.0
    # blocks: a 2, b 1; then 3 and 2; at a's 13th token nothing is left, and b goes with 5 tokens produced
    assert [step[2:] for step in trace.steps] == [
        (12, 0),
        (0, 2),
        (0, 2),
        (0, 2),
        (0, 2),
        (0, 1),
        (0, 1),
        (0, 1),
        (9, 0),
    ]
    assert trace.gaps[-1] == (9.0, 4.0, 1)
    assert {name: record.request.output_tokens for name, record in trace.records.items()} == {"a": 8, "b": 6}


def test_with_prefix_caching_a_preempted_request_finds_what_was_not_overwritten() -> None:
    rules = replace(RULES, kv_blocks=5, prefix_caching=True)
    trace, _ = play(rules, Request("a", 0.0, 8, 8), Request("b", 0.0, 4, 6))
    assert trace.preemptions == ["b"]
    assert trace.steps[-1][2] == 5  # 9 tokens, of which one block of 4 survived


def test_reserving_all_output_never_preempts() -> None:
    rules = replace(RULES, kv_blocks=5, reserve_output_ratio=1.0)
    trace, _ = play(rules, Request("a", 0.0, 8, 8), Request("b", 0.0, 4, 6))
    assert not trace.preemptions
    assert trace.ttfts["b"][0] > trace.records["a"].finished_s


def test_output_of_prompts_still_being_computed_is_reserved_too() -> None:
    rules = replace(RULES, kv_blocks=8, reserve_output_ratio=1.0, max_num_batched_tokens=8)
    trace, _ = play(rules, Request("a", 0.0, 14, 8), Request("b", 0.0, 4, 6))
    assert not trace.preemptions
    assert trace.ttfts["b"][0] > trace.records["a"].finished_s


def test_requests_with_a_common_prefix_compute_it_once() -> None:
    rules = replace(RULES, prefix_caching=True)
    shared = [Request(name, at_s, 18, 2, "p", 16) for name, at_s in (("a", 0.0), ("b", 10.0), ("c", 10.0))]
    trace, replica = play(rules, *shared, to_s=10.5)
    assert [step[2] for step in trace.steps if step[2]] == [18]
    assert replica.kv_usage == (4 + 1 + 1) / 16
    replica.advance(100)
    assert [step[2] for step in trace.steps if step[2]] == [18, 4]
    assert (trace.queried_tokens, trace.hit_tokens) == (54, 32)
    assert replica.kv_usage == 0


def test_an_unused_prefix_is_forgotten_when_its_blocks_are_needed() -> None:
    rules = replace(RULES, prefix_caching=True, kv_blocks=6)
    requests = Request("a", 0.0, 18, 1, "p", 16), Request("big", 10.0, 20, 1), Request("b", 20.0, 18, 1, "p", 16)
    trace, _ = play(rules, *requests)
    assert [step[2] for step in trace.steps] == [18, 20, 18 - trace.hit_tokens]
    assert trace.hit_tokens == 4  # the head of a prefix goes last


def test_prefixes_that_are_gone_leave_no_trace() -> None:
    rules = replace(RULES, prefix_caching=True)
    _, replica = play(rules, *(Request(f"r{n}", float(n), 9, 1, f"p{n}", 8) for n in range(200)))
    assert len(replica._kv._prefixes) <= 2 * rules.kv_blocks + 1


def test_the_prefix_cache_is_asked_once_per_request_however_often_it_is_admitted() -> None:
    rules = replace(RULES, kv_blocks=5, prefix_caching=True)
    trace, replica = play(rules, Request("a", 0.0, 8, 8), Request("b", 0.0, 4, 6))
    assert replica.preemptions == 1
    assert (trace.queried_tokens, trace.hit_tokens) == (12, 0)


def test_generated_counts_what_a_client_has_seen() -> None:
    for rules in (RULES, replace(RULES, async_scheduling=True)):
        replica = Replica(rules, SECOND_A_STEP)
        replica.submit(Request("a", 0.0, 8, 3))
        seen = []
        for to_s in (0.5, 1.5, 2.5, 3.5):
            replica.advance(to_s)
            seen.append(replica.generated("a"))
        assert seen == [0, 1, 2, None]
        assert replica.generated("never seen") is None


def test_cancelling_frees_everything_at_once() -> None:
    _, replica = play(RULES, Request("a", 0.0, 8, 8), Request("b", 0.0, 64, 1), Request("c", 9.0, 8, 8), to_s=1.5)
    assert (replica.running, replica.waiting) == (1, 1)
    assert [replica.cancel(name) for name in ("a", "b", "c", "a", "d")] == [True, True, True, False, False]
    assert (replica.running, replica.waiting, replica.kv_usage) == (0, 0, 0.0)
    assert replica.idle
    replica.advance(100)


def test_a_cancelled_request_whose_next_step_was_already_planned_adds_no_gap_of_its_own() -> None:
    rules = replace(RULES, async_scheduling=True)
    trace, replica = play(rules, Request("a", 0.0, 8, 8), Request("b", 0.0, 8, 8), to_s=0.5)
    assert replica.cancel("b")
    replica.advance(100)
    assert {gap_s for _, gap_s, _ in trace.gaps} == {1.0}
    late = Request("c", 100.0, 8, 8), Request("d", 100.0, 8, 8)
    for request in late:
        replica.submit(request)
    replica.advance(100.5)
    assert replica.cancel("d")
    replica.advance(200)
    assert {gap_s for _, gap_s, _ in trace.gaps} == {1.0}


def test_a_request_cancelled_while_its_prompt_is_computed_yields_nothing() -> None:
    trace, replica = play(RULES, Request("a", 0.0, 8, 8), to_s=0.5)
    assert replica.cancel("a")
    replica.advance(100)
    assert not trace.ttfts
    assert len(trace.steps) == 1


def test_a_request_that_could_never_be_served_is_refused() -> None:
    rules = replace(RULES, max_num_batched_tokens=32, chunked_prefill=False)
    replica = Replica(rules, SECOND_A_STEP, start_s=10.0)
    for hopeless in (Request("tokens", 10.0, 60, 6), Request("one step", 10.0, 33, 1), Request("before", 9.0, 1, 1)):
        with pytest.raises(ValueError, match=hopeless.id):
            replica.submit(hopeless)
    replica.submit(Request("twice", 10.0, 1, 1))
    with pytest.raises(ValueError, match="twice"):
        replica.submit(Request("twice", 10.0, 1, 1))


def test_the_next_event_is_the_next_arrival_or_the_end_of_the_step() -> None:
    _, replica = play(RULES, Request("a", 5.0, 8, 1), to_s=2.0)
    seen = []
    for to_s in (2.0, 5.5, 6.5):
        replica.advance(to_s)
        seen.append((replica.now_s, replica.next_event_s))
    assert seen == [(2.0, 5.0), (5.5, 6.0), (6.5, None)]
    assert replica.kv_capacity_tokens == 64


@pytest.mark.parametrize("wrong", [{"max_num_seqs": 0}, {"kv_blocks": 0}, {"reserve_output_ratio": 1.5}])
def test_impossible_rules_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"share|at least"):
        replace(RULES, **wrong)  # type: ignore[arg-type]
