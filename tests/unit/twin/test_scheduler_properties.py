"""What holds for every load under every set of rules."""

from math import inf, nextafter

from hypothesis import example, given
from hypothesis import strategies as st

from perfagent.twin import Replica, Request, SchedulerRules, StepTime
from unit.twin.trace import Trace

STEP_TIME = StepTime(0.01, 1e-4, 16, 1e-4, 1e-5, 1e-6, 1e-3)
KV_TOKENS = 96
BUDGET = 40

RULES = st.builds(
    SchedulerRules,
    max_num_seqs=st.integers(1, 6),
    max_num_batched_tokens=st.integers(8, BUDGET),
    kv_blocks=st.just(KV_TOKENS // 4),
    block_size=st.just(4),
    prefix_caching=st.booleans(),
    chunked_prefill=st.just(True),
    async_scheduling=st.booleans(),
    mixed=st.booleans(),
    reserve_output_ratio=st.sampled_from([0.0, 0.0, 0.3, 1.0]),
)


SIZES = st.tuples(
    st.floats(0, 0.2),
    st.integers(1, KV_TOKENS // 2),
    st.integers(1, KV_TOKENS // 2),
    st.sampled_from([None, "p", "q"]),
)


def requests(sizes: list[tuple[float, int, int, str | None]]) -> list[Request]:
    at_s, made = 0.0, []
    for number, (gap_s, prompt, output, prefix) in enumerate(sizes):
        at_s += gap_s
        made.append(Request(f"r{number}", at_s, prompt, output, prefix, prompt * 3 // 4 if prefix else 0))
    return made


LOADS = st.lists(SIZES, min_size=1, max_size=12).map(requests)


def play(rules: SchedulerRules, load: list[Request], pieces: list[float]) -> tuple[Trace, Replica]:
    """Runs to the end, stopping and looking on the way; requests are submitted as late as possible."""
    trace, now_s, late = Trace(), 0.0, list(load)
    replica = Replica(rules, STEP_TIME, trace)
    for piece_s in [*pieces, 1e6]:
        now_s += piece_s
        while late and late[0].arrival_s < now_s:
            replica.submit(late.pop(0))
        replica.advance(now_s)
        look(replica)
    return trace, replica


def look(replica: Replica) -> None:
    pool = replica._kv.pool
    assert 0 <= pool.free <= pool.capacity
    assert pool._tail - pool._head - sum(end - start for start, end in pool._holes) == pool.free
    assert replica.running <= replica.rules.seats
    batch, decoding = replica._batch, [s for s in replica._running.values() if s.stage.name == "DECODING"]
    contexts = [s.joined_context + batch.clock - s.joined_clock for s in decoding]
    assert (batch.size, batch.context_tokens) == (len(contexts), sum(contexts))
    assert batch.tokens_to_come == sum(s.due_clock - batch.clock for s in decoding)


@given(RULES, LOADS, st.lists(st.floats(0.001, 0.5), max_size=5))
def test_every_request_finishes_once_with_all_its_tokens_and_leaves_nothing_behind(
    rules: SchedulerRules, load: list[Request], pieces: list[float]
) -> None:
    trace, replica = play(rules, load, pieces)
    assert set(trace.records) == set(trace.ttfts) == {request.id for request in load}
    assert trace.generated_tokens() == sum(request.output_tokens for request in load)
    assert replica.idle
    assert replica.kv_usage == 0
    assert len(trace.preemptions) == replica.preemptions


@given(RULES, LOADS)
def test_steps_keep_to_their_budget_and_never_overlap(rules: SchedulerRules, load: list[Request]) -> None:
    trace, _ = play(rules, load, [])
    for _, _, prompt_tokens, decode_tokens in trace.steps:
        assert 0 < prompt_tokens + decode_tokens <= max(rules.max_num_batched_tokens, rules.seats)
        assert rules.mixed or not (prompt_tokens and decode_tokens)
    ends = [at_s for at_s, *_ in trace.steps]
    starts = [at_s - duration_s for at_s, duration_s, *_ in trace.steps]
    assert all(start >= end - 1e-9 for start, end in zip(starts[1:], ends, strict=False))


@given(RULES, LOADS)
def test_times_of_a_request_add_up(rules: SchedulerRules, load: list[Request]) -> None:
    trace, _ = play(rules, load, [])
    for record in trace.records.values():
        assert 0 <= record.queue_s <= record.ttft_s <= record.e2e_s
        assert abs(record.ttft_s + record.decode_s - record.e2e_s) < 1e-9
        assert record.queue_s + record.prefill_s <= record.ttft_s + 1e-9
    gaps_s = sum(gap_s * count for _, gap_s, count in trace.gaps)
    assert abs(gaps_s - sum(record.decode_s for record in trace.records.values())) < 1e-6


@given(RULES, LOADS, st.lists(st.floats(0.001, 0.5), max_size=20))
def test_many_small_advances_equal_a_big_one(rules: SchedulerRules, load: list[Request], pieces: list[float]) -> None:
    assert play(rules, load, pieces)[0].events == play(rules, load, [])[0].events


EVICTED_AFTER_THE_HEAD_WAS_REFUSED = (
    SchedulerRules(3, 8, KV_TOKENS // 4, 4, async_scheduling=False, mixed=False),
    requests([(0.0, 26, 22, None), (0.0, 1, 20, "p"), (0.0, 43, 9, "p")]),
)


@given(RULES, LOADS, st.integers(0, 40), st.integers(0, 11))
@example(*EVICTED_AFTER_THE_HEAD_WAS_REFUSED, 29, 0)
def test_steps_that_only_decode_are_the_same_in_one_go_as_turn_by_turn(
    rules: SchedulerRules, load: list[Request], turns: int, cancelled: int
) -> None:
    """Somebody is cancelled on the way: whatever was known of the steps to come no longer holds."""
    one_go, by_turns = Trace(), Trace()
    slow, fast = Replica(rules, STEP_TIME, by_turns), Replica(rules, STEP_TIME, one_go)
    for request in load:
        slow.submit(request)
        fast.submit(request)
    for turn in range(10_000):
        if turn == turns:
            fast.advance(slow.now_s)
            assert fast.cancel(f"r{cancelled}") == slow.cancel(f"r{cancelled}")
        next_s = slow.next_event_s
        if next_s is None:
            break
        slow.advance(nextafter(next_s, inf))
    fast.advance(max(slow.now_s, 1e6))
    assert slow.idle
    assert one_go.events == by_turns.events


@given(RULES, LOADS)
def test_with_all_output_reserved_nobody_is_preempted(rules: SchedulerRules, load: list[Request]) -> None:
    trace, _ = play(rules, load, [])
    if rules.reserve_output_ratio == 1:
        assert not trace.preemptions


@given(RULES, LOADS, st.lists(st.tuples(st.floats(0.001, 0.3), st.integers(0, 11)), max_size=12))
def test_a_cancelled_request_is_never_heard_of_again(
    rules: SchedulerRules, load: list[Request], cancels: list[tuple[float, int]]
) -> None:
    trace, cancelled, now_s = Trace(), set(), 0.0
    replica = Replica(rules, STEP_TIME, trace)
    for request in load:
        replica.submit(request)
    for piece_s, number in cancels:
        now_s += piece_s
        replica.advance(now_s)
        known = replica.generated(f"r{number}") is not None
        events = len(trace.events)
        assert replica.cancel(f"r{number}") == known
        if known:
            cancelled.add(f"r{number}")
        look(replica)
        assert len(trace.events) == events
    replica.advance(1e6)
    assert replica.idle
    assert replica.kv_usage == 0
    assert set(trace.records) == {request.id for request in load} - cancelled


@given(RULES, LOADS, st.lists(st.floats(0.001, 0.2), min_size=1, max_size=12))
def test_generated_never_goes_back(rules: SchedulerRules, load: list[Request], pieces: list[float]) -> None:
    replica, now_s = Replica(rules, STEP_TIME), 0.0
    for request in load:
        replica.submit(request)
    seen = {request.id: 0 for request in load}
    for piece_s in pieces:
        now_s += piece_s
        replica.advance(now_s)
        for request in load:
            tokens = replica.generated(request.id)
            if tokens is not None:
                assert seen[request.id] <= tokens < request.output_tokens
                seen[request.id] = tokens
