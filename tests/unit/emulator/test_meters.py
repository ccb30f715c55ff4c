from itertools import accumulate
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent.domain.metric import Metric
from perfagent.emulator.clients import ClientLog, seen
from perfagent.emulator.meters import Buckets, Meters
from perfagent.engines.servers import habits
from perfagent.twin import Finished, Request

EDGES = (0.1, 1.0, 10.0)
REQUEST = Request("a", 0.0, prompt_tokens=100, output_tokens=5)
DONE = Finished(REQUEST, 9.0, queue_s=1.0, ttft_s=3.0, prefill_s=2.0, decode_s=4.0, e2e_s=7.0)


def meters(engine: str, *metrics: Metric, clients: ClientLog | None = None) -> Meters:
    return Meters(habits(engine), [(metric, EDGES) for metric in metrics], clients or ClientLog())


def counts(of: Meters, metric: Metric) -> list[int]:
    return of.histograms[metric, EDGES].counts


@given(st.lists(st.floats(0, 100), max_size=50))
def test_an_observation_lands_in_the_first_bucket_whose_edge_it_does_not_exceed(values: list[float]) -> None:
    buckets = Buckets(EDGES)
    for value in values:
        buckets.observe(value)
    lower = (-inf, *EDGES)
    upper = (*EDGES, inf)
    assert buckets.counts == [sum(a < v <= b for v in values) for a, b in zip(lower, upper, strict=True)]
    assert buckets.total == pytest.approx(sum(values))


def test_phases_of_a_request_are_observed_when_it_finishes() -> None:
    of = meters("vllm", Metric.QUEUE_TIME, Metric.PREFILL_TIME, Metric.DECODE_TIME, Metric.E2E, Metric.TPOT)
    of.first_token(REQUEST, 5.0, queue_s=1.0, ttft_s=3.0)
    assert not any(sum(buckets.counts) for buckets in of.histograms.values())
    of.finished(DONE)
    totals = {metric: buckets.total for (metric, _), buckets in of.histograms.items()}
    assert totals == {
        Metric.QUEUE_TIME: 1.0,
        Metric.PREFILL_TIME: 2.0,
        Metric.DECODE_TIME: 4.0,
        Metric.E2E: 7.0,
        Metric.TPOT: 1.0,
    }


def test_what_passes_before_the_scheduler_is_part_of_what_clients_wait() -> None:
    clients = ClientLog()
    of = meters("vllm", Metric.TTFT, Metric.QUEUE_TIME, Metric.E2E, clients=clients)
    of.accepted(REQUEST, 0.5)
    of.first_token(REQUEST, 5.0, queue_s=1.0, ttft_s=3.0)
    of.finished(DONE)
    totals = {metric: buckets.total for (metric, _), buckets in of.histograms.items()}
    assert totals == {Metric.TTFT: 3.5, Metric.QUEUE_TIME: 1.0, Metric.E2E: 7.5}
    told = seen([clients], 0, 60)
    assert (told.ttft_mean_s, told.e2e_mean_s) == (3.5, 7.5)


def test_sglang_observes_the_queue_when_a_request_is_scheduled() -> None:
    of = meters("sglang", Metric.QUEUE_TIME)
    of.first_token(REQUEST, 5.0, queue_s=0.5, ttft_s=3.0)
    of.finished(DONE)
    assert counts(of, Metric.QUEUE_TIME) == [0, 1, 0, 0]


def test_engines_differ_in_what_they_call_time_per_token() -> None:
    single = Finished(Request("b", 0, 10, 1), 2.0, queue_s=0, ttft_s=2.0, prefill_s=2.0, decode_s=0.0, e2e_s=2.0)
    found = {}
    for engine in ("vllm", "sglang", "tgi"):
        of = meters(engine, Metric.TPOT)
        of.finished(DONE)
        of.finished(single)
        found[engine] = (sum(counts(of, Metric.TPOT)), of.histograms[Metric.TPOT, EDGES].total)
    assert found == {"vllm": (2, 1.0), "sglang": (1, 1.0), "tgi": (2, 6 / 5 + 2.0)}


def test_tgi_observes_its_steps_and_the_others_their_tokens() -> None:
    for engine, expected in (("vllm", 3), ("sglang", 3), ("tgi", 1)):
        of = meters(engine, Metric.ITL)
        of.step(1.0, 0.5, 0, 3)
        of.tokens(1.0, 0.5, 3)
        assert counts(of, Metric.ITL) == [0, expected, 0, 0]
    of = meters("tgi", Metric.PREFILL_TIME, Metric.ITL)
    of.step(1.0, 5.0, 200, 3)
    assert (counts(of, Metric.PREFILL_TIME), counts(of, Metric.ITL)) == ([0, 0, 1, 0], [0, 0, 0, 0])


def test_a_chunked_prompt_is_booked_in_the_step_that_finishes_it() -> None:
    of = meters("vllm", Metric.STEP_TOKENS)
    of.step(1.0, 1.0, 60, 0)
    of.step(2.0, 1.0, 40, 0)
    of.first_token(REQUEST, 2.0, 0.0, 2.0)
    of.step(3.0, 1.0, 0, 1)
    of.tokens(3.0, 1.0, 1)
    of.close_step()
    of.close_step()
    steps = of.histograms[Metric.STEP_TOKENS, EDGES]
    assert steps.counts == [1, 1, 0, 1]
    assert steps.total == 102


def test_a_client_that_goes_away_is_counted_as_its_engine_does() -> None:
    moved = {}
    for engine in ("vllm", "sglang", "tgi"):
        of = meters(engine)
        of.accepted(REQUEST)
        of.aborted(REQUEST.id)
        assert not of.open
        moved[engine] = {metric.value for metric, value in of.counters.items() if value}
    assert moved == {"vllm": set(), "sglang": {"requests_aborted", "requests_finished"}, "tgi": {"requests_aborted"}}


def test_clients_are_told_what_the_metrics_are_told() -> None:
    log = ClientLog()
    of = meters("vllm", clients=log)
    of.first_token(REQUEST, 3.0, 1.0, 3.0)
    of.tokens(4.0, 1.0, 4)
    of.finished(DONE)
    truth = seen([log], 0, 10)
    assert (truth.ttft_mean_s, truth.itl_mean_s, truth.e2e_mean_s) == (3.0, 1.0, 7.0)
    assert of.generated == 5


def test_a_request_is_unanswered_until_its_first_token_or_until_its_client_goes_away() -> None:
    of, other = meters("vllm"), Request("b", 0.0, prompt_tokens=10, output_tokens=5)
    of.accepted(REQUEST)
    of.accepted(other)
    assert of.unanswered == of.open == {"a", "b"}
    of.first_token(REQUEST, 5.0, queue_s=1.0, ttft_s=3.0)
    assert of.unanswered == {"b"}
    of.aborted("b")
    assert (of.unanswered, of.open) == (set(), {"a"})


STEPS = st.lists(st.floats(0.001, 2.0), min_size=1, max_size=20)


@given(STEPS, st.floats(0, 1.0), st.integers(1, 5), st.sampled_from(["vllm", "sglang", "tgi"]))
def test_steps_told_together_count_as_much_as_one_by_one(
    durations: list[float], before_s: float, count: int, engine: str
) -> None:
    start_s, ends = 10.0, list(accumulate(durations, initial=10.0))[1:]
    logs = ClientLog(), ClientLog()
    together, single = (meters(engine, Metric.ITL, Metric.STEP_TOKENS, clients=log) for log in logs)
    for of in (together, single):
        of.step(start_s, 1.0, 7, 3)
        of.tokens(start_s, 0.5, 3)
    together.decoded(start_s, start_s - before_s, ends, count)
    last_s, since_s = start_s, start_s - before_s
    for end_s in ends:
        single.step(end_s, end_s - last_s, 0, count)
        single.tokens(end_s, end_s - since_s, count)
        last_s = since_s = end_s
    for of in (together, single):
        of.close_step()
    assert (together.counters, together.generated) == (single.counters, single.generated)
    for metric in (Metric.ITL, Metric.STEP_TOKENS):
        assert counts(together, metric) == counts(single, metric)
        assert together.histograms[metric, EDGES].total == pytest.approx(single.histograms[metric, EDGES].total)
    told = [seen([log], 0, 60) for log in logs]
    assert [one.tokens_per_s for one in told] == [told[0].tokens_per_s] * 2
    assert told[0].stall_s == pytest.approx(told[1].stall_s)
    assert told[0].itl_mean_s == pytest.approx(told[1].itl_mean_s)
