import json
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfagent import engines
from perfagent.domain.errors import InvalidInput
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Labels, Sample, Snapshot
from support.pages import FIXTURES, by_reference

TTFT = "vllm:time_to_first_token_seconds"
ENGINE_0: Labels = (("engine", "0"), ("model_name", "m"))


def read(engine: str, *samples: Sample) -> Snapshot:
    return engines.read(engine, samples, target="r1", at_s=5.0)


def page(path: str) -> list[Sample]:
    return by_reference((FIXTURES / "engines" / path).read_text())


def buckets(name: str, *reached: tuple[str, float], total: float = 1.0, labels: Labels = ENGINE_0) -> list[Sample]:
    return [
        *(Sample(f"{name}_bucket", (*labels, ("le", edge)), count) for edge, count in reached),
        Sample(f"{name}_sum", labels, total),
        Sample(f"{name}_count", labels, reached[-1][1] if reached else 0.0),
    ]


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="'trt'; known are vllm, tgi, sglang"):
        engines.spec("trt")


def test_an_empty_page_belongs_to_nobody_and_reads_as_nothing() -> None:
    assert engines.recognise([]) is None
    fresh = read("tgi")
    assert fresh == Snapshot(target="r1", engine="tgi", at_s=5.0)


def test_a_page_belongs_to_the_engine_that_most_of_its_names_are_of() -> None:
    names = ["vllm:num_requests_running", "sglang:num_running_reqs", "sglang:num_queue_reqs", "up"]
    assert engines.recognise(names) == "sglang"


def test_wanted_names_are_literal_sample_names() -> None:
    assert {f"{TTFT}_bucket", f"{TTFT}_sum", f"{TTFT}_count"} <= engines.wanted("vllm")
    assert {"vllm:cache_config_info", "process_start_time_seconds"} <= engines.wanted("vllm")
    assert TTFT not in engines.wanted("vllm")
    assert engines.wanted("sglang") | engines.wanted("tgi") <= engines.wanted(None)


def test_of_two_spellings_of_one_thing_only_the_newer_counts() -> None:
    both = read("vllm", *page("vllm/0.10.1-derived-preempting.prom"))
    assert len(both.scalars[Metric.KV_USAGE]) == 1
    assert len(both.scalars[Metric.PREFIX_QUERIES]) == 1


def test_an_older_spelling_counts_where_the_newer_is_not_on_the_page() -> None:
    old = read("vllm", Sample("vllm:gpu_cache_usage_perc", (("model_name", "m"),), 0.4))
    assert old.scalars[Metric.KV_USAGE] == {(("model_name", "m"),): 0.4}


BROKEN = {
    "no +Inf": [("0.1", 1.0), ("1.0", 2.0)],
    "counts fall": [("0.1", 3.0), ("1.0", 2.0), ("+Inf", 4.0)],
    "a NaN": [("0.1", nan), ("+Inf", 4.0)],
    "an edge that is no number": [("a", 1.0), ("+Inf", 4.0)],
    "edges fall": [("1.0", 1.0), ("0.1", 2.0), ("+Inf", 4.0)],
    "infinitely many": [("0.1", 1.0), ("+Inf", inf)],
}


@pytest.mark.parametrize("reached", BROKEN.values(), ids=BROKEN)
def test_a_broken_histogram_is_dropped_and_its_neighbours_stay(reached: list[tuple[str, float]]) -> None:
    whole = buckets(TTFT, ("0.1", 1.0), ("+Inf", 2.0), labels=(("engine", "1"),))
    told = read("vllm", *buckets(TTFT, *reached), *whole)
    assert list(told.histograms[Metric.TTFT]) == [(("engine", "1"),)]


def test_a_histogram_without_sum_or_with_another_count_is_dropped() -> None:
    samples = buckets(TTFT, ("0.1", 1.0), ("+Inf", 2.0))
    assert Metric.TTFT not in read("vllm", *samples[:-2]).histograms
    contradicted = [*samples[:-1], samples[-1]._replace(value=3.0)]
    assert Metric.TTFT not in read("vllm", *contradicted).histograms
    assert Metric.TTFT in read("vllm", *samples[:-1]).histograms


def test_what_is_not_finite_is_no_measurement() -> None:
    told = read(
        "vllm", Sample("vllm:num_requests_running", ENGINE_0, nan), Sample("process_start_time_seconds", (), inf)
    )
    assert Metric.RUNNING not in told.scalars
    assert told.started_at_s is None


def test_the_servers_start_is_read_where_the_page_tells_it() -> None:
    assert read("vllm", *page("vllm/0.32.0-cpu-light.prom")).started_at_s == 1.79519197804e09
    assert read("vllm", *page("vllm/0.32.0-two-api-servers.prom")).started_at_s is None


def test_kv_capacity_is_what_the_engine_says_and_else_its_blocks() -> None:
    def capacity(**labels: str) -> object:
        told = read("vllm", Sample("vllm:cache_config_info", (*ENGINE_0, *labels.items()), 1.0))
        return told.scalars.get(Metric.KV_CAPACITY, {}).get(ENGINE_0)

    assert capacity(kv_cache_size_tokens="678048", num_gpu_blocks="42378", block_size="8") == 678048
    assert capacity(kv_cache_size_tokens="None", num_gpu_blocks="3200", block_size="16") == 51200
    assert capacity(num_gpu_blocks="None", block_size="16") is None
    assert capacity(num_gpu_blocks="9" * 400, block_size="16") is None
    assert capacity(kv_cache_size_tokens="9" * 5000) is None


def test_each_engine_behind_one_address_has_its_own_capacity() -> None:
    told = read("vllm", *page("vllm/0.33.0-derived-two-ranks.prom"))
    assert sorted(told.scalars[Metric.KV_CAPACITY].values()) == [144000, 144000]
    assert told.info["cache_dtype"] == "fp8"


def test_sglangs_constants_are_configuration() -> None:
    info = read("sglang", *page("sglang/0.5.23-queueing.prom")).info
    assert info == {"context_len": "8192", "page_size": "1"}


def scheduler(dp: str, tp: str, pp: str = "0") -> Labels:
    return (("dp_rank", dp), ("model_name", "m"), ("pp_rank", pp), ("tp_rank", tp))


@given(st.permutations([("0", "0"), ("0", "1"), ("0", "2"), ("1", "0"), ("1", "1"), ("1", "2")]))
def test_ranks_that_repeat_one_another_are_counted_once_and_always_the_same(order: list[tuple[str, str]]) -> None:
    # tensor ranks report at slightly different moments, so that their values differ
    samples = [Sample("sglang:num_running_reqs", scheduler(dp, tp), 10 * int(dp) + int(tp)) for dp, tp in order]
    told = read("sglang", *samples).scalars[Metric.RUNNING]
    assert told == {(("dp_rank", dp), ("model_name", "m")): 10.0 * int(dp) for dp in ("0", "1")}


def test_repeated_histograms_are_counted_once_too() -> None:
    stage = "sglang:queue_time_seconds"
    samples = [s for tp in "10" for s in buckets(stage, ("1", 1.0), ("+Inf", 2.0 + int(tp)), labels=scheduler("0", tp))]
    (only,) = read("sglang", *samples).histograms[Metric.QUEUE_TIME].values()
    assert only.count == 2


def test_with_priorities_the_series_without_one_is_the_total() -> None:
    told = read(
        "sglang",
        *(Sample("sglang:num_queue_reqs", (("priority", p),), n) for p, n in (("", 5.0), ("1", 3.0), ("2", 2.0))),
    )
    assert list(told.scalars[Metric.WAITING].values()) == [5.0]


def test_requests_that_wait_for_a_grammar_wait() -> None:
    labels = scheduler("0", "0")
    told = read(
        "sglang", Sample("sglang:num_queue_reqs", labels, 2.0), Sample("sglang:num_grammar_queue_reqs", labels, 3.0)
    )
    assert list(told.scalars[Metric.WAITING].values()) == [5.0]
    assert list(told.scalars[Metric.WAITING_DEFERRED].values()) == [3.0]


def test_time_to_first_token_is_that_of_streamed_answers_only() -> None:
    name = "sglang:time_to_first_token_seconds"
    streamed, whole = (("is_streaming", "true"),), (("is_streaming", "false"),)
    samples = [*buckets(name, ("1", 1.0), ("+Inf", 2.0), labels=streamed), *buckets(name, ("+Inf", 9.0), labels=whole)]
    (only,) = read("sglang", *samples).histograms[Metric.TTFT].values()
    assert only.count == 2


def test_sglangs_health_checks_are_no_failures() -> None:
    def response(endpoint: str, status: str, count: float) -> Sample:
        labels = (("endpoint", endpoint), ("method", "POST"), ("status_code", status))
        return Sample("sglang:http_responses_total", labels, count)

    health, full, lost = (
        response("/health", "503", 2),
        response("/v1/completions", "503", 3),
        response("/generate", "499", 4),
    )
    broken, refused = response("/v1/chat/completions", "500", 5), response("/generate", "400", 6)
    told = read("sglang", health, full, lost, broken, refused).scalars
    assert sum(told[Metric.FAILED].values()) == 11
    assert sum(told[Metric.REJECTED].values()) == 3
    assert sum(read("sglang", health).scalars[Metric.FAILED].values()) == 0


def test_a_counter_that_sglang_has_not_created_yet_is_absent() -> None:
    assert Metric.PREEMPTIONS not in read("sglang", *page("sglang/0.5.23-queueing.prom")).scalars


def test_tgis_failures_are_zero_only_once_it_counts_requests() -> None:
    assert Metric.FAILED not in read("tgi", Sample("tgi_queue_size", (), 0.0)).scalars
    told = read("tgi", Sample("tgi_request_count", (), 4.0)).scalars
    assert [sum(told[m].values()) for m in (Metric.FAILED, Metric.REJECTED, Metric.ABORTED)] == [0, 0, 0]


def test_vllms_refusals_count_as_failures_and_older_releases_tell_by_http_alone() -> None:
    def http(status: str, count: float) -> Sample:
        return Sample("http_requests_total", (("handler", "/v1/completions"), ("status", status)), count)

    errors = Sample("vllm:request_success_total", (("finished_reason", "error"),), 2.0)
    stops = Sample("vllm:request_success_total", (("finished_reason", "stop"),), 9.0)
    assert sum(read("vllm", errors, stops, http("4xx", 3.0), http("5xx", 7.0)).scalars[Metric.FAILED].values()) == 5
    assert sum(read("vllm", stops, http("4xx", 3.0), http("5xx", 7.0)).scalars[Metric.FAILED].values()) == 10
    assert sum(read("vllm", stops, http("2xx", 9.0)).scalars[Metric.FAILED].values()) == 0
    assert Metric.FAILED not in read("vllm", stops).scalars


SAMPLES = st.builds(
    Sample,
    st.sampled_from(sorted(engines.wanted(None))),
    st.lists(
        st.tuples(
            st.sampled_from(["le", "engine", "tp_rank", "mode", "reason"]), st.sampled_from(["0", "1", "+Inf", "x"])
        ),
        max_size=3,
        unique_by=lambda pair: pair[0],
    ).map(tuple),
    st.floats(),
)


@given(st.sampled_from(sorted(engines.ENGINES)), st.lists(SAMPLES, max_size=40))
def test_no_page_however_odd_raises(engine: str, samples: list[Sample]) -> None:
    told = read(engine, *samples)
    assert told.engine == engine


def test_gaps_are_reasons_for_people() -> None:
    assert engines.gap("tgi", Metric.TTFT) == "TGI exports no time to first token"
    assert engines.gap("vllm", Metric.TTFT) is None


def test_facts_are_strict_json() -> None:
    for path in (FIXTURES / "engines").glob("*/facts.json"):
        assert json.loads(path.read_text())
