import httpx
import pytest
import respx
from prometheus_client.parser import text_string_to_metric_families

from support.api import SHORT_OF_CACHE, VLLM, Site, page, serve, site
from support.captures import FIXTURES

PAGE = page("vllm/0.26.0-short-of-seats")
Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def figures(at: Site) -> Figures:
    text = (await at.client.get("http://agent/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(told: Figures, name: str, **labels: str) -> float | None:
    return told.get((name, frozenset(labels.items())))


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (httpx.Response(200, text=PAGE), "ok"),
        (httpx.ConnectError("refused"), "unreachable"),
        (httpx.ReadTimeout("slow"), "timed_out"),
        (httpx.Response(500), "bad_answer"),
        (httpx.Response(200, text="up 1\n"), "wrong_engine"),
    ],
)
async def test_scrapes_are_counted_by_result_and_timed(answer: httpx.Response | Exception, result: str) -> None:
    with respx.mock(assert_all_called=False) as wire:
        wire.get(f"{VLLM}/metrics").mock(side_effect=[answer])
        wire.get(url__startswith=VLLM).respond(404)
        async with site() as at:
            await at.post("/collect/vllm", {"instance_id": "one", "endpoint": VLLM})
            told = await figures(at)
    assert of(told, "perfagent_scrapes_total", engine="vllm", result=result) == 1
    assert of(told, "perfagent_scrape_duration_seconds_count", engine="vllm") == 1


async def test_a_replica_grows_old_and_is_forgotten_with_its_service() -> None:
    with respx.mock(assert_all_called=False) as wire:
        serve(wire, VLLM, PAGE)
        async with site() as at:
            await at.post("/collect/vllm", {"instance_id": "one", "endpoint": VLLM})
            await at.clock.sleep(42)
            labels = {"service": "one", "target": "one/vllm:8000"}
            assert of(await figures(at), "perfagent_scrape_age_seconds", **labels) == 42
            await at.delete("/services/one")
            told = await figures(at)
    assert of(told, "perfagent_scrape_age_seconds", **labels) is None
    assert of(told, "perfagent_services") == 0
    assert at.telemetry.last_scrape_s == {}


async def test_findings_are_told_by_cause_as_the_loop_last_saw_them() -> None:
    with respx.mock(assert_all_called=False) as wire:
        serve(wire, VLLM, *SHORT_OF_CACHE.pages)
        async with site() as at:
            await SHORT_OF_CACHE.play(at, "one", VLLM, flags=SHORT_OF_CACHE.meta["flags"])
            assert of(await figures(at), "perfagent_findings", service="one", cause="kv_capacity") is None
            await at.agent.tick()
            told = await figures(at)
            assert of(told, "perfagent_findings", service="one", cause="kv_capacity") == 1
            assert of(told, "perfagent_findings", service="one", cause="batch_limit") == 0
            assert of(told, "perfagent_incidents", service="one", cause="kv_capacity") == 0
            health = of(told, "perfagent_health_score", service="one")
            assert health is not None
            assert health < 60
            await at.turn(210)
            assert of(await figures(at), "perfagent_incidents", service="one", cause="kv_capacity") == 1
            wire.get(f"{VLLM}/metrics").respond(500)
            await at.turn(3600, every_s=60.0)
            assert of(await figures(at), "perfagent_findings", service="one", cause="kv_capacity") is None


async def test_burn_rates_and_alerts_are_told_by_objective_and_worked_out_only_now_and_then() -> None:
    slos = [
        {"metric_name": "ttft", "target_value": 0.5, "share": 0.95},
        {"metric_name": "ttft", "target_value": 0.5, "share": 0.95},
        {"metric_name": "ttft", "target_value": 0.5},
    ]
    with respx.mock(assert_all_called=False) as wire:
        pages = ((FIXTURES.parent / "pages" / f"vllm-0.26.0{which}.prom").read_text() for which in ("", "-next"))
        serve(wire, VLLM, *pages)
        async with site() as at:
            labels = {"service": "one", "objective": "ttft<=0.5@0.95"}
            await at.put("/services/one", {"engine": "vllm", "targets": [VLLM], "slos": slos})
            assert of(await figures(at), "perfagent_slo_alert", **labels, severity="page") == 0
            await at.turn(120)
            told = await figures(at)
            assert of(told, "perfagent_slo_alert", **labels, severity="page") == 1
            assert of(told, "perfagent_slo_alert", **labels, severity="ticket") == 1
            for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d"):
                assert of(told, "perfagent_slo_burn_rate", **labels, window=window) == pytest.approx(20)
            assert not any(("objective", "ttft<=0.5") in key for _, key in told)
            await at.clock.sleep(29)
            assert of(await figures(at), "perfagent_slo_burn_rate", **labels, window="5m") == pytest.approx(
                of(told, "perfagent_slo_burn_rate", **labels, window="5m")
            )
            await at.clock.sleep(400)
            told = await figures(at)
            assert of(told, "perfagent_slo_burn_rate", **labels, window="5m") is None
            assert of(told, "perfagent_slo_burn_rate", **labels, window="1h") is not None
            assert of(told, "perfagent_slo_alert", **labels, severity="page") == 1
            await at.delete("/services/one")
            assert of(await figures(at), "perfagent_slo_alert", **labels, severity="page") is None


async def test_rollouts_and_turns_of_the_loop_are_counted() -> None:
    async with site() as at:
        told = await figures(at)
        assert of(told, "perfagent_rollouts", phase="completed") == 0
        assert of(told, "perfagent_tick_duration_seconds_count") == 0
        await at.agent.tick()
        await at.put("/services/chat", {"engine": "vllm", "targets": [VLLM]})
        await at.post("/workflows", {"service": "chat", "config_changes": {"max_num_seqs": 9}})
        told = await figures(at)
    assert of(told, "perfagent_rollouts", phase="pending") == 1
    assert of(told, "perfagent_tick_duration_seconds_count") == 1


async def test_lost_events_and_listeners_are_counted() -> None:
    async with site(queue=1) as at:
        with at.journal.subscribe():
            for seq in range(3):
                at.journal.append("r1", seq, 0.0, "applied", "{}")
            told = await figures(at)
    assert of(told, "perfagent_event_listeners") == 1
    assert of(told, "perfagent_events_missed_total") == 2


async def test_two_agents_fit_into_one_process() -> None:
    async with site() as one, site() as other:
        await one.agent.tick()
        told = await figures(other)
    assert of(told, "perfagent_tick_duration_seconds_count") == 0
