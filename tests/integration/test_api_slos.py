import pytest
import respx

from support.api import VLLM, Site, page, problem, serve
from support.captures import FIXTURES

SLOS = [
    {"metric_name": "ttft", "target_value": 0.6, "share": 0.95},
    {"metric_name": "error_rate", "target_value": 0.01},
    {"metric_name": "itl", "target_value": 0.1, "statistic": "p95"},
]


@pytest.fixture
async def slow(at: Site, wire: respx.MockRouter) -> Site:
    """A server that took more than ten seconds for each of fourteen first tokens, and then had nothing to do."""
    serve(
        wire, VLLM, *((FIXTURES.parent / "pages" / f"vllm-0.26.0{which}.prom").read_text() for which in ("", "-next"))
    )
    await at.put("/services/chat", {"engine": "vllm", "targets": [VLLM], "slos": SLOS})
    await at.turn(120)
    return at


async def test_each_objective_is_told_with_its_compliance_its_budget_and_its_alerts(slow: Site) -> None:
    told = (await slow.get("/services/chat/slos")).json()
    assert told["service"] == "chat"
    assert told["period_s"] == 30 * 86400
    assert "Site Reliability Workbook" in told["source"]
    ttft, errors, itl = told["slos"]
    assert [slo["objective"] for slo in told["slos"]] == ["ttft<=0.6@0.95", "error_rate<=0.01", "itl.p95<=0.1"]
    assert [slo["error_budget"] for slo in told["slos"]] == [0.05, 0.01, None]

    assert ttft["status"]["compliant"] is False
    assert ttft["status"]["error_budget_used"] == pytest.approx(20)
    assert ttft["reason"] == "counted at 0.5 s, the bucket edge nearest to 0.6 s"
    assert [(a["severity"], a["long_s"], a["short_s"], a["factor"]) for a in ttft["alerts"]] == [
        ("page", 3600, 300, 14.4), ("page", 21600, 1800, 6), ("ticket", 86400, 7200, 3), ("ticket", 259200, 21600, 1),
    ]  # fmt: skip
    for alert in ttft["alerts"]:
        assert alert["firing"] is True
        assert alert["long"]["burn_rate"] == pytest.approx(20)
        assert (alert["long"]["events"], alert["long"]["bad_events"]) == (14, 14)
        assert 90 < alert["long"]["covers_s"] < 120

    assert errors["status"]["compliant"] is True
    assert errors["status"]["error_budget_used"] == 0
    assert [alert["firing"] for alert in errors["alerts"]] == [False] * 4
    assert itl["alerts"] == []
    assert itl["reason"].startswith("no error budget")


async def test_an_alert_ends_when_the_service_has_nothing_left_to_do(slow: Site) -> None:
    for _ in range(2 * 3600 // 60):
        await slow.turn(60, every_s=60)
    ttft = (await slow.get("/services/chat/slos")).json()["slos"][0]
    assert [alert["firing"] for alert in ttft["alerts"][:2]] == [False, False]
    assert ttft["alerts"][0]["reason"] == "nothing was measured over 1h"
    assert ttft["alerts"][1]["long"]["events"] > 0
    assert ttft["alerts"][1]["reason"] == "nothing was measured over 30m"
    assert ttft["status"]["current_value"] is None


async def test_a_service_without_objectives_has_none_to_tell(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, page("vllm/0.26.0-short-of-seats"))
    await at.post("/collect/vllm", {"instance_id": "one", "endpoint": VLLM})
    assert (await at.get("/services/one/slos")).json()["slos"] == []


async def test_what_is_unknown_or_was_not_scraped_has_no_standing(at: Site) -> None:
    await at.put("/services/chat", {"engine": "vllm", "targets": [VLLM], "slos": SLOS})
    assert problem(await at.get("/services/chat/slos")) == (409, "not-scraped")
    assert problem(await at.get("/services/nobody/slos")) == (404, "not-found")
