import pytest
import respx

from support.api import SHORT_OF_CACHE, SMALL_STEPS, VLLM, Recording, Site, page, problem, serve


async def optimized(at: Site, wire: respx.MockRouter, recording: Recording, **more: object) -> dict[str, object]:
    serve(wire, VLLM, *recording.pages)
    await recording.play(at, "one", VLLM, flags=recording.meta["flags"])
    answer = await at.post("/optimize", {"instance_id": "one", "instance_type": "vllm", **more})
    assert answer.status_code == 200, answer.text
    told: dict[str, object] = answer.json()
    return told


async def test_small_steps_are_answered_with_a_larger_budget_and_what_the_twin_expects_of_it(
    at: Site, wire: respx.MockRouter
) -> None:
    told = await optimized(at, wire, SMALL_STEPS)
    first = told["optimizations"][0]  # type: ignore[index]
    assert first["type"] == "batching"
    assert first["current_values"]["max_num_batched_tokens"] == 512
    assert first["config_changes"]["max_num_batched_tokens"] > 512
    assert any("--max-num-batched-tokens" in flag for flag in first["flags"])
    assert first["estimated_improvement"]["metric_name"] == "ttft_s"
    assert first["estimated_improvement"]["low_ratio"] < 1
    assert "the twin" in first["estimated_improvement"]["basis"]
    assert told["predicted_by"] == "the twin"
    ttft = first["predicted"]["ttft_mean_s"]
    assert 0 < ttft["low"] <= ttft["value"] <= ttft["high"]
    assert ttft["now"] > 1
    assert 0 < first["chance_better"] <= 1
    assert first["risks"]
    assert 0 < first["confidence"] <= 1


async def test_improvements_of_several_changes_are_not_added(at: Site, wire: respx.MockRouter) -> None:
    shape = {"params": 11e9, "layers": 40, "kv_heads": 8, "head_dim": 128}
    await at.put("/services/one", {"engine": "vllm", "targets": [VLLM], "gpu": "h200", "model": shape})
    told = await optimized(at, wire, SHORT_OF_CACHE)
    assert len(told["optimizations"]) > 1  # type: ignore[arg-type]
    assert told["estimated_total_improvement"] is None
    assert told["estimated_total_improvement_reason"]
    priorities = [each["priority"] for each in told["optimizations"]]  # type: ignore[attr-defined]
    assert priorities == sorted(priorities)
    altering = [each for each in told["optimizations"] if each["type"] == "quantization"]  # type: ignore[attr-defined]
    assert altering
    assert all(each["needs_approval"] for each in altering)


async def test_without_a_finding_there_is_nothing_to_change(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, page("vllm/0.32.0-cpu-light"))
    await at.post("/collect/vllm", {"instance_id": "one", "endpoint": VLLM})
    told = (await at.post("/optimize", {"instance_id": "one", "instance_type": "vllm"})).json()
    assert told["optimizations"] == []
    assert told["estimated_total_improvement"] is None


async def test_what_the_caller_knows_fills_what_is_unknown_and_is_overruled_by_flags(
    at: Site, wire: respx.MockRouter
) -> None:
    current = {"max_num_batched_tokens": 4096, "max_num_seqs": 77}
    told = await optimized(at, wire, SMALL_STEPS, current_config=current)
    settings = told["configuration"]["settings"]  # type: ignore[index]
    assert settings["max_num_seqs"] == {"value": 77, "source": "given as a flag"}
    assert settings["max_num_batched_tokens"]["value"] == 512
    assert told["overruled"] == ["max_num_batched_tokens"]


@pytest.mark.parametrize("config", [{"warp_factor": 9}, {"max_num_seqs": None}, {"max_num_seqs": [1]}])
async def test_what_is_no_setting_is_refused(at: Site, config: dict[str, object]) -> None:
    body = {"instance_id": "one", "instance_type": "vllm", "current_config": config}
    assert problem(await at.post("/optimize", body)) == (422, "invalid-fields")


async def test_the_console_sees_the_same_proposals(at: Site, wire: respx.MockRouter) -> None:
    told = await optimized(at, wire, SMALL_STEPS)
    shown = (await at.get("/services/one/proposals")).json()
    assert shown["proposals"] == told["optimizations"]
    findings = (await at.get("/services/one/findings")).json()
    assert [each["cause"] for each in findings["findings"]] == ["prefill_budget"]
    assert findings["findings"][0]["recommendation"] == shown["proposals"][0]["description"]
