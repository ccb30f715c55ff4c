import respx

from perfagent import __version__, engines
from perfagent.settings import Settings
from support.api import VLLM, Site, page, problem, serve


async def test_the_settings_are_shown(at: Site) -> None:
    assert (await at.get("/config")).json() == {"settings": Settings().shown()}


async def test_the_capabilities_are_those_of_the_parts(at: Site) -> None:
    told = (await at.get("/capabilities")).json()
    assert [each["engine"] for each in told["collectors"]] == list(engines.ENGINES)
    assert told["optimizers"] == ["kv_cache", "quantization", "batching"]
    assert told["actuators"] == ["none"]
    assert told["version"] == __version__
    by_engine = {each["engine"]: each for each in told["collectors"]}
    assert "ttft" in by_engine["tgi"]["cannot_tell"]
    assert "ttft" not in by_engine["vllm"]["cannot_tell"]
    assert "max_num_seqs" in by_engine["vllm"]["knobs"]


async def test_the_agent_is_alive_before_it_is_ready(at: Site) -> None:
    assert (await at.get("/health/live")).json() == {"status": "alive"}
    assert problem(await at.get("/health/ready")) == (503, "unavailable")
    told = (await at.get("/health")).json()
    assert (told["status"], told["degradation_reasons"]) == ("degraded", ["the loop has not turned yet"])
    await at.agent.tick()
    assert (await at.get("/health/ready")).status_code == 200
    await at.clock.sleep(7)
    healthy = (await at.get("/health")).json()
    assert healthy == {
        "status": "healthy", "version": __version__, "uptime_seconds": 7.0, "degradation_reasons": [],
    }  # fmt: skip


async def test_a_loop_that_stopped_turning_is_not_ready(at: Site) -> None:
    await at.agent.tick()
    await at.clock.sleep(120)
    assert problem(await at.get("/health/ready")) == (503, "unavailable")
    detailed = (await at.get("/health/detailed")).json()
    assert detailed["loop"]["turns"] == 1
    assert "120 s" in detailed["loop"]["stalled"]


async def test_our_own_metrics_are_at_the_root(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, page("vllm/0.26.0-short-of-seats"))
    await at.post("/collect/vllm", {"instance_id": "one", "endpoint": VLLM})
    answer = await at.client.get("http://agent/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'perfagent_scrapes_total{engine="vllm",result="ok"} 1.0' in answer.text
