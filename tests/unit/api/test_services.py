import pytest
import respx

from support.api import VLLM, Site, page, problem, serve

CHAT = {
    "engine": "vllm",
    "targets": ["http://a:8000", "http://b:8000/"],
    "slos": [
        {"metric_name": "ttft", "target_value": 0.5, "comparison": "less_than", "statistic": "p95", "share": None},
        {"metric_name": "itl", "target_value": 0.1, "comparison": "less_than", "statistic": "mean", "share": 0.99},
    ],
    "policy": {
        "stages": [20, 100],
        "approval": "always",
        "knobs": {"allow": ["max_num_seqs", "kv_cache_dtype"], "max_num_seqs": {"min": None, "max": 1024}},
        "max_unready": 2,
        "approval_timeout": "12h",
        "cooldown": "1h",
        "changes_per_day": 3,
        "freeze": [
            {"days": ["fri", "sat"], "from": "18:00", "to": "06:00", "timezone": "Europe/Berlin", "why": "weekend"},
            {"from": "2026-12-20T00:00:00Z", "until": "2027-01-02T00:00:00Z", "why": "holidays"},
        ],
        "quality": {"prompts": ["The sky is"], "tokens_differ": 0.1, "probability_shift": 0.05},
    },
    "flags": ["--max-num-seqs", "8"],
    "version": "0.26.0",
}


async def test_a_service_is_answered_as_it_was_put(at: Site) -> None:
    answer = await at.put("/services/chat", CHAT)
    assert answer.status_code == 201
    told = answer.json()
    assert [target["id"] for target in told["targets"]] == ["chat/a:8000", "chat/b:8000"]
    for name in ("engine", "slos", "policy", "flags", "version"):
        assert told[name] == CHAT[name]
    assert (await at.get("/services/chat")).json() == told


async def test_what_a_policy_leaves_out_has_defaults(at: Site) -> None:
    answer = await at.put("/services/chat", {"engine": "vllm", "targets": ["http://a"], "policy": {"cooldown": 90}})
    assert answer.json()["policy"] == {
        "stages": [10, 50, 100],
        "approval": "risky",
        "knobs": {"allow": None},
        "max_unready": 1,
        "approval_timeout": "1d",
        "cooldown": "90s",
        "changes_per_day": None,
        "freeze": [],
        "quality": {"prompts": [], "tokens_differ": 0.05, "probability_shift": 0.03},
    }


async def test_putting_a_service_again_changes_it(at: Site) -> None:
    await at.put("/services/chat", CHAT)
    answer = await at.put("/services/chat", {**CHAT, "targets": ["http://c:8000"]})
    assert answer.status_code == 200
    assert [target["id"] for target in answer.json()["targets"]] == ["chat/c:8000"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"targets": []}, "invalid-fields"),
        ({"targets": ["http://a", "http://a:80"]}, "invalid-input"),
        ({"targets": ["a"]}, "invalid-input"),
        ({"engine": "auto"}, "invalid-fields"),
        ({"actuator": "magic"}, "invalid-input"),
        ({"policy": {"stages": [50, 10, 100]}}, "invalid-input"),
        ({"policy": {"stages": [10, 50]}}, "invalid-input"),
        ({"policy": {"stages": [0, 100]}}, "invalid-fields"),
        ({"policy": {"approval": "sometimes"}}, "invalid-fields"),
        ({"policy": {"aproval": "always"}}, "invalid-fields"),
        ({"policy": {"knobs": {"allow": ["warp_factor"]}}}, "invalid-fields"),
        ({"policy": {"knobs": {"warp_factor": {"max": 9}}}}, "invalid-fields"),
        ({"policy": {"knobs": {"max_num_seqs": {"most": 9}}}}, "invalid-fields"),
        ({"policy": {"knobs": {"max_num_seqs": {}}}}, "invalid-input"),
        ({"policy": {"knobs": {"max_num_seqs": {"min": 9, "max": 8}}}}, "invalid-input"),
        ({"policy": {"max_unready": 0}}, "invalid-fields"),
        ({"policy": {"changes_per_day": 0}}, "invalid-fields"),
        ({"policy": {"cooldown": "soon"}}, "invalid-fields"),
        ({"policy": {"cooldown": "31d"}}, "invalid-fields"),
        ({"policy": {"approval_timeout": 0}}, "invalid-fields"),
        ({"policy": {"freeze": [{"days": []}]}}, "invalid-fields"),
        ({"policy": {"freeze": [{"days": ["sunday"]}]}}, "invalid-fields"),
        ({"policy": {"freeze": [{"from": "24:00"}]}}, "invalid-fields"),
        ({"policy": {"freeze": [{"timezone": "Mars/Olympus"}]}}, "invalid-input"),
        ({"policy": {"freeze": [{"from": "2026-12-20T00:00:00", "until": "2026-12-21T00:00:00Z"}]}}, "invalid-fields"),
        ({"policy": {"freeze": [{"from": "2026-12-21T00:00:00Z", "until": "2026-12-20T00:00:00Z"}]}}, "invalid-input"),
        ({"policy": {"quality": {"prompts": [""]}}}, "invalid-fields"),
        ({"policy": {"quality": {"prompts": ["x"] * 101}}}, "invalid-fields"),
        ({"policy": {"quality": {"tokens_differ": 0}}}, "invalid-fields"),
        ({"policy": {"quality": {"probability_shift": 1.5}}}, "invalid-fields"),
        ({"engine": "tgi"}, "invalid-input"),
        ({"slos": [{"metric_name": "throughput", "target_value": 1, "statistic": "p95"}]}, "invalid-input"),
        ({"slos": [{"metric_name": "ttft", "target_value": -1}]}, "invalid-fields"),
    ],
)
async def test_a_service_that_cannot_be_looked_after_is_refused(at: Site, change: object, why: str) -> None:
    assert problem(await at.put("/services/chat", {**CHAT, **change})) == (422, why)  # type: ignore[dict-item]
    assert problem(await at.get("/services/chat")) == (404, "not-found")


@pytest.mark.parametrize("service", ["a b", "x" * 129, "-", "a%2Fb"])
async def test_an_odd_id_is_refused(at: Site, service: str) -> None:
    assert (await at.put(f"/services/{service}", CHAT)).status_code in (404, 422)
    assert (await at.get("/services")).json()["services"] == []


async def test_services_come_in_pages(at: Site) -> None:
    for name in ("c", "a", "b"):
        await at.put(f"/services/{name}", CHAT)
    first = (await at.get("/services", limit=2)).json()
    assert [service["id"] for service in first["services"]] == ["a", "b"]
    second = (await at.get("/services", limit=2, after=first["next"])).json()
    assert [service["id"] for service in second["services"]] == ["c"]
    assert second["next"] is None
    assert problem(await at.get("/services", limit=201)) == (422, "invalid-fields")


async def test_a_deleted_service_is_gone(at: Site) -> None:
    await at.put("/services/chat", CHAT)
    assert (await at.delete("/services/chat")).status_code == 204
    assert problem(await at.delete("/services/chat")) == (404, "not-found")


async def test_a_service_stays_as_it_is_while_a_workflow_is_under_way(at: Site) -> None:
    await at.put("/services/chat", CHAT)
    workflow = (await at.post("/workflows", {"service": "chat", "config_changes": {"max_num_seqs": 64}})).json()
    assert (await at.get("/services/chat")).json()["active_workflow"] == workflow["workflow_id"]
    assert problem(await at.delete("/services/chat")) == (409, "conflict")
    assert problem(await at.put("/services/chat", {**CHAT, "targets": ["http://c"]})) == (409, "conflict")
    assert (await at.put("/services/chat", {**CHAT, "slos": []})).status_code == 200
    await at.post(f"/workflows/{workflow['workflow_id']}/abort", {"who": "ann", "why": "enough"})
    assert (await at.delete("/services/chat")).status_code == 204


@pytest.mark.parametrize("what", ["findings", "proposals", "windows"])
async def test_what_was_not_scraped_has_no_figures_yet(at: Site, what: str) -> None:
    await at.put("/services/chat", CHAT)
    assert problem(await at.get(f"/services/chat/{what}")) == (409, "not-scraped")
    assert problem(await at.get(f"/services/nobody/{what}")) == (404, "not-found")


async def test_a_replica_that_cannot_be_scraped_is_told_and_the_rest_is_answered(
    at: Site, wire: respx.MockRouter
) -> None:
    serve(wire, "http://a:8000", page("vllm/0.26.0-short-of-seats"))
    wire.get("http://b:8000/metrics").respond(503)
    await at.put("/services/chat", CHAT)
    await at.turn(30)
    told = (await at.get("/services/chat")).json()
    assert [target["trouble"] is None for target in told["targets"]] == [True, False]
    findings = await at.get("/services/chat/findings")
    assert findings.status_code == 200
    assert [slo["metric_name"] for slo in findings.json()["slo_statuses"]] == ["ttft", "itl"]
    health = (await at.get("/health")).json()
    assert health["status"] == "degraded"
    assert "1 of 2" in health["degradation_reasons"][0]
    detailed = (await at.get("/health/detailed")).json()
    assert list(detailed["services"][0]["troubles"]) == ["chat/b:8000"]


async def test_flags_told_anew_are_read_at_the_next_scrape(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, page("vllm/0.26.0-short-of-seats"))
    service = {"engine": "vllm", "targets": [VLLM], "flags": ["--max-num-seqs=8"]}
    for flag, value in (("--max-num-seqs=8", 8), ("--max-num-seqs=9", 9)):
        await at.put("/services/chat", {**service, "flags": [flag]})
        await at.turn(20)
        told = (await at.get("/services/chat/proposals")).json()
        assert told["configuration"]["settings"]["max_num_seqs"]["value"] == value
