import re

import httpx
import pytest
import respx

from support.api import VLLM, Site, page, problem, serve

SEATS = page("vllm/0.26.0-short-of-seats")
QUEUEING = page("sglang/0.5.23-queueing")
ONE = {"instance_id": "one", "endpoint": VLLM}


async def test_a_collected_server_is_answered_in_our_words(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, SEATS)
    answer = await at.post("/collect/vllm", {**ONE, "flags": ["--max-num-seqs=8"], "version": "0.26.0"})
    assert answer.status_code == 200
    told = answer.json()
    ttft = told["metrics"]["ttft_s"]
    assert ttft["mean"] == pytest.approx(ttft["sum"] / ttft["count"])
    assert ttft["p95"]["low"] <= ttft["p95"]["value"] <= (ttft["p95"]["high"] or float("inf"))
    assert told["metrics"]["running"]["kind"] == "gauge"
    assert told["metrics"]["generation_tokens"]["kind"] == "counter"
    assert told["configuration"]["version"] == "0.26.0"
    assert told["configuration"]["settings"]["max_num_seqs"] == {"value": 8, "source": "given as a flag"}
    assert told["target"] == "one/vllm:8000"


@pytest.mark.parametrize("odd", ["1e20", "-1e308", "NaN", "+Inf"])
async def test_a_start_time_that_no_calendar_has_is_not_told(at: Site, wire: respx.MockRouter, odd: str) -> None:
    serve(wire, VLLM, re.sub(r"(?m)^process_start_time_seconds .*$", f"process_start_time_seconds {odd}", SEATS))
    answer = await at.post("/collect/vllm", ONE)
    assert answer.status_code == 200, answer.text
    assert answer.json()["started_at"] is None


async def test_a_gap_in_an_engine_is_named(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, "http://tgi", page("tgi/3.0.0-after-load"))
    told = (await at.post("/collect/tgi", {"instance_id": "t", "endpoint": "http://tgi"})).json()
    assert "ttft_s" not in told["metrics"]
    assert told["gaps"]["ttft_s"]


async def test_a_collected_server_is_a_service_of_one_replica(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, SEATS)
    await at.post("/collect/vllm", ONE)
    told = (await at.get("/services/one")).json()
    assert [target["url"] for target in told["targets"]] == [VLLM]
    assert told["actuator"] == "none"


async def test_collecting_again_keeps_what_was_told_and_adds_to_the_window(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, SEATS)
    await at.post(
        "/collect/vllm", {**ONE, "flags": ["--max-num-seqs=8"], "slos": [{"metric_name": "ttft", "target_value": 1}]}
    )
    await at.clock.sleep(5)
    await at.post("/collect/vllm", {**ONE, "endpoint": f"{VLLM}/metrics"})
    told = (await at.get("/services/one")).json()
    assert told["flags"] == ["--max-num-seqs=8"]
    assert [slo["metric_name"] for slo in told["slos"]] == ["ttft"]
    windows = (await at.get("/services/one/windows")).json()["windows"]
    assert [window["scrapes"] for window in windows] == [2]


async def test_another_endpoint_is_another_server_and_starts_afresh(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, SEATS)
    serve(wire, "http://other", SEATS)
    await at.post("/collect/vllm", {**ONE, "flags": ["--max-num-seqs=8"]})
    await at.clock.sleep(5)
    told = (await at.post("/collect/vllm", {**ONE, "endpoint": "http://other"})).json()
    assert "max_num_seqs" not in told["configuration"]["settings"]
    windows = (await at.get("/services/one/windows")).json()["windows"]
    assert [(window["target"], window["scrapes"]) for window in windows] == [("one/other:80", 1)]


async def test_another_engine_at_the_same_address_starts_afresh(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, SEATS, QUEUEING)
    await at.post("/collect/vllm", ONE)
    await at.clock.sleep(5)
    assert (await at.post("/collect/sglang", ONE)).status_code == 200
    told = (await at.post("/analyze", {"instance_id": "one", "instance_type": "sglang"})).json()
    assert told["basis"] == "since_start"


async def test_another_endpoint_is_refused_while_a_workflow_is_under_way(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, SEATS)
    serve(wire, "http://other", SEATS)
    await at.post("/collect/vllm", ONE)
    started = await at.post("/workflows", {"instance_id": "one", "config_changes": {"max_num_seqs": 64}})
    assert started.status_code == 201
    assert problem(await at.post("/collect/vllm", {**ONE, "endpoint": "http://other"})) == (409, "conflict")
    assert (await at.post("/collect/vllm", ONE)).status_code == 200


async def test_a_service_of_several_replicas_is_not_replaced_by_one(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, SEATS)
    await at.put("/services/one", {"engine": "vllm", "targets": ["http://a", "http://b"]})
    assert problem(await at.post("/collect/vllm", ONE)) == (409, "conflict")


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        (httpx.ConnectError("refused"), (502, "unreachable")),
        (httpx.ReadTimeout("silent"), (504, "timed-out")),
        (httpx.Response(200, text="<html>hello</html>"), (502, "bad-answer")),
        (httpx.Response(200, text="<html>hello</html>", headers={"content-type": "text/html"}), (502, "bad-answer")),
        (httpx.Response(500, text="boom"), (502, "bad-answer")),
        (httpx.Response(302, headers={"location": "http://elsewhere/"}), (502, "bad-answer")),
        (httpx.Response(200, text="# nothing\nup 1\n"), (502, "wrong-engine")),
        (httpx.Response(200, text=QUEUEING), (502, "wrong-engine")),
        (httpx.Response(200, content=b"\x00\xff" * 100), (502, "bad-answer")),
        (httpx.Response(200, text="up 1\n" * 1_800_000), (502, "too-large")),
    ],
    ids=["down", "slow", "garbage", "html", "error", "redirect", "no-engine", "another-engine", "binary", "huge"],
)
async def test_a_server_that_fails_is_a_clear_problem_and_leaves_nothing_behind(
    at: Site, wire: respx.MockRouter, answered: httpx.Response | Exception, expected: tuple[int, str]
) -> None:
    wire.get(f"{VLLM}/metrics").mock(
        side_effect=answered if isinstance(answered, Exception) else None,
        return_value=None if isinstance(answered, Exception) else answered,
    )
    assert problem(await at.post("/collect/vllm", ONE)) == expected
    assert (await at.get("/services")).json() == {"services": [], "next": None}
    assert problem(await at.post("/analyze", {"instance_id": "one", "instance_type": "vllm"})) == (404, "not-found")


@pytest.mark.parametrize("endpoint", ["vllm:8000", "ftp://vllm", "http://u:p@vllm", "http://", "", "http://vllm?x=1"])
async def test_what_is_no_address_is_refused(at: Site, endpoint: str) -> None:
    status, slug = problem(await at.post("/collect/vllm", {**ONE, "endpoint": endpoint}))
    assert status == 422
    assert slug in ("invalid-input", "invalid-fields")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/collect/llamafile", ONE),
        ("/collect/vllm", {**ONE, "instance_id": "no spaces"}),
        ("/collect/vllm", {**ONE, "instance_id": "x" * 129}),
        ("/collect/vllm", {**ONE, "unknown": 1}),
        ("/collect/vllm", {"instance_id": "one"}),
        ("/collect/vllm", {**ONE, "flags": ["x"] * 201}),
        ("/collect/vllm", []),
    ],
)
async def test_fields_at_fault_are_named(at: Site, path: str, body: object) -> None:
    answer = await at.post(path, body)
    assert problem(answer) == (422, "invalid-fields")
    assert all(each["field"] and each["reason"] for each in answer.json()["fields"])


async def test_an_objective_that_the_engine_cannot_tell_is_refused(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, "http://tgi", page("tgi/3.0.0-after-load"))
    body = {"instance_id": "t", "endpoint": "http://tgi", "slos": [{"metric_name": "ttft", "target_value": 1}]}
    assert problem(await at.post("/collect/tgi", body)) == (422, "invalid-input")
