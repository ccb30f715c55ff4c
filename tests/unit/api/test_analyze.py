import pytest
import respx

from perfagent.domain.metric import Metric
from support.api import SHORT_OF_CACHE, VLLM, Site, page, problem, serve

TTFT = {"metric_name": "ttft", "target_value": 0.1, "comparison": "less_than"}


async def test_a_server_short_of_cache_is_named_with_its_evidence(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, *SHORT_OF_CACHE.pages)
    await SHORT_OF_CACHE.play(at, "one", VLLM, flags=SHORT_OF_CACHE.meta["flags"])
    answer = await at.post("/analyze", {"instance_id": "one", "instance_type": "vllm", "slo_targets": [TTFT]})
    assert answer.status_code == 200
    told = answer.json()
    worst = told["bottlenecks"][0]
    assert (worst["cause"], worst["type"]) == ("kv_capacity", "memory_pressure")
    decisive = worst["evidence"][0]
    assert worst["metric_name"] == decisive["metric"]
    assert (worst["current_value"], worst["threshold_value"]) == (decisive["value"], decisive["limit"])
    assert worst["recommendation"] in told["recommendations"]
    assert told["basis"] == "window"
    assert told["overall_health_score"] < 60
    slo = told["slo_statuses"][0]
    assert slo["compliant"] is False
    assert slo["current_value"] == pytest.approx(told["figures"]["ttft_mean_s"])


async def test_the_first_analysis_after_the_first_collect_says_that_it_is_since_the_start(
    at: Site, wire: respx.MockRouter
) -> None:
    serve(wire, VLLM, page("vllm/0.26.0-short-of-seats"))
    await at.post("/collect/vllm", {"instance_id": "one", "endpoint": VLLM})
    told = (await at.post("/analyze", {"instance_id": "one", "instance_type": "vllm"})).json()
    assert told["basis"] == "since_start"
    assert told["blind_spots"]
    assert told["slo_statuses"] == []


async def test_a_quantile_comes_with_bounds_and_decides_only_where_they_agree(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, page("vllm/0.26.0-short-of-seats"))
    await at.post("/collect/vllm", {"instance_id": "one", "endpoint": VLLM})
    asked = [{**TTFT, "statistic": "p95", "target_value": target} for target in (0.001, 10_000)]
    told = (await at.post("/analyze", {"instance_id": "one", "instance_type": "vllm", "slo_targets": asked})).json()[
        "slo_statuses"
    ]
    assert [status["compliant"] for status in told] == [False, True]
    assert all(status["low"] <= status["current_value"] <= status["high"] for status in told)


async def test_what_an_engine_cannot_tell_is_null_with_the_reason(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, "http://tgi", page("tgi/3.0.0-after-load"))
    await at.post("/collect/tgi", {"instance_id": "t", "endpoint": "http://tgi"})
    body = {"instance_id": "t", "instance_type": "tgi", "slo_targets": [TTFT]}
    (status,) = (await at.post("/analyze", body)).json()["slo_statuses"]
    assert status["compliant"] is None
    assert status["current_value"] is None
    assert status["reason"]


async def test_a_quantile_of_what_has_none_is_refused(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, page("vllm/0.26.0-short-of-seats"))
    await at.post("/collect/vllm", {"instance_id": "one", "endpoint": VLLM})
    asked = [{"metric_name": "throughput", "target_value": 1, "statistic": "p95"}]
    body = {"instance_id": "one", "instance_type": "vllm", "slo_targets": asked}
    assert problem(await at.post("/analyze", body)) == (422, "invalid-input")


@pytest.mark.parametrize("call", ["/analyze", "/optimize"])
async def test_an_unknown_instance_is_not_found(at: Site, call: str) -> None:
    assert problem(await at.post(call, {"instance_id": "nobody", "instance_type": "vllm"})) == (404, "not-found")


@pytest.mark.parametrize("call", ["/analyze", "/optimize"])
async def test_an_instance_taken_for_another_engines_is_refused(at: Site, wire: respx.MockRouter, call: str) -> None:
    serve(wire, VLLM, page("vllm/0.26.0-short-of-seats"))
    await at.post("/collect/vllm", {"instance_id": "one", "endpoint": VLLM})
    assert problem(await at.post(call, {"instance_id": "one", "instance_type": "tgi"})) == (409, "conflict")


@pytest.mark.parametrize("call", ["/analyze", "/optimize"])
async def test_a_service_that_was_not_scraped_yet_says_so(at: Site, call: str) -> None:
    await at.put("/services/chat", {"engine": "vllm", "targets": [VLLM]})
    answer = await at.post(call, {"instance_id": "chat", "instance_type": "vllm"})
    assert problem(answer) == (409, "not-scraped")


async def test_every_metric_name_of_the_contract_is_taken(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, *SHORT_OF_CACHE.pages)
    await SHORT_OF_CACHE.play(at, "one", VLLM)
    names = (
        "ttft", "itl", "tpot", "e2e_latency", "queue_time", "throughput", "error_rate", "queue_size", "kv_cache_usage",
    )  # fmt: skip
    asked = [{"metric_name": name, "target_value": 1, "comparison": "greater_than"} for name in names]
    body = {"instance_id": "one", "instance_type": "vllm", "slo_targets": asked}
    told = (await at.post("/analyze", body)).json()["slo_statuses"]
    assert [status["metric_name"] for status in told] == list(names)
    assert all(status["reason"] for status in told)
    assert {status["metric_name"] for status in told if status["current_value"] is not None} >= {"ttft", "throughput"}


async def test_a_window_shows_every_metric_of_the_page_in_our_words(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, *SHORT_OF_CACHE.pages)
    await SHORT_OF_CACHE.play(at, "one", VLLM)
    (window,) = (await at.get("/services/one/windows")).json()["windows"]
    assert window["scrapes"] == len(SHORT_OF_CACHE.pages)
    assert window["metrics"]["generation_tokens"]["per_second"] > 0
    assert set(window["metrics"]) <= set(Metric)
