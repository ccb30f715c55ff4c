import pytest
import respx

from support.api import VLLM, Site, page, problem, serve


def pages(hours: int, *, per_hour: list[int], prompt: list[int]) -> list[str]:
    """A page every quarter of an hour; so many requests finish in each hour, with prompts of that length."""
    told, finished, tokens = [], 0.0, 0.0
    for quarter in range(4 * hours):
        told.append(
            'vllm:num_requests_running{engine="0"} 1\nvllm:num_requests_waiting{engine="0"} 0\n'
            f'vllm:request_success_total{{engine="0",finished_reason="stop"}} {finished}\n'
            f'vllm:request_prompt_tokens_sum{{engine="0"}} {tokens}\n'
            f'vllm:request_prompt_tokens_count{{engine="0"}} {finished}\n'
            f'vllm:request_prompt_tokens_bucket{{engine="0",le="+Inf"}} {finished}\n'
        )
        finished += per_hour[quarter // 4] / 4
        tokens += per_hour[quarter // 4] / 4 * prompt[quarter // 4]
    return told


async def watched(at: Site, wire: respx.MockRouter, told: list[str]) -> dict[str, object]:
    serve(wire, VLLM, *told)
    await at.put("/services/chat", {"engine": "vllm", "targets": [VLLM]})
    await at.clock.sleep(3600 - at.clock.now() % 3600)
    for _ in told:
        await at.agent.tick()
        await at.clock.sleep(900)
    answer: dict[str, object] = (await at.get("/services/chat/drift")).json()
    return answer


async def test_an_hour_unlike_the_days_before_is_told(at: Site, wire: respx.MockRouter) -> None:
    usual = [1000 + 20 * (hour % 5) for hour in range(31)]
    told = await watched(at, wire, pages(32, per_hour=[*usual, 4000], prompt=[500] * 31 + [1500]))
    assert (told["hours_known"], told["enough_past"]) == (31, True)
    figures = {each["figure"]: each for each in told["figures"]}  # type: ignore[attr-defined]
    assert set(figures) == {"finished_per_s", "prompt_tokens_mean"}
    assert figures["prompt_tokens_mean"]["usual"] == pytest.approx(500)
    assert figures["prompt_tokens_mean"]["now"] > 750
    assert figures["finished_per_s"]["of_workload"]


async def test_without_a_day_of_past_nothing_is_called_usual(at: Site, wire: respx.MockRouter) -> None:
    told = await watched(at, wire, pages(12, per_hour=[*[1000] * 11, 4000], prompt=[500] * 12))
    assert (told["hours_known"], told["enough_past"], told["figures"]) == (11, False, [])


async def test_asking_again_reads_only_what_is_new_and_answers_alike(at: Site, wire: respx.MockRouter) -> None:
    first = await watched(at, wire, pages(32, per_hour=[1000] * 32, prompt=[500] * 32))
    assert (await at.get("/services/chat/drift")).json() == first


async def test_a_replica_that_says_otherwise_than_its_flags_is_told(at: Site, wire: respx.MockRouter) -> None:
    serve(wire, VLLM, page("vllm/0.26.0-short-of-cache"))
    flags = ["--no-enable-prefix-caching"]
    await at.put("/services/chat", {"engine": "vllm", "targets": [VLLM], "flags": flags})
    await at.turn(30)
    (drift,) = (await at.get("/services/chat/drift")).json()["settings"]
    assert (drift["knob"], drift["in_force"], drift["expected"], drift["because"]) == (
        "enable_prefix_caching",
        True,
        False,
        "its flags",
    )


async def test_a_service_that_is_gone_and_comes_back_is_known_from_the_history_again(
    at: Site, wire: respx.MockRouter
) -> None:
    first = await watched(at, wire, pages(32, per_hour=[1000] * 32, prompt=[500] * 32))
    await at.delete("/services/chat")
    assert problem(await at.get("/services/chat/drift")) == (404, "not-found")
    await at.put("/services/chat", {"engine": "vllm", "targets": [VLLM]})
    assert (await at.get("/services/chat/drift")).json() == first


async def test_an_unknown_service_has_no_drift(at: Site) -> None:
    assert problem(await at.get("/services/none/drift")) == (404, "not-found")
