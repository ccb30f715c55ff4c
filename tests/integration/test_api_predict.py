"""What a change would do, asked over HTTP about an emulated server whose pages are scraped at the wire."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import respx

from perfagent.domain.finding import Cause
from perfagent.domain.knob import Knob
from perfagent.forecast import Figure
from perfagent.store.memory import MemoryKnowledge
from perfagent.workflows.model import Phase, Request, Rollout
from support import fleets
from support.api import VLLM, Site, problem, serve
from support.rollout_events import PLAN
from support.watched import EMULATED, EVERY_S, chats

FLAGS = ["--max-num-seqs=4", "--max-model-len=65536"]
SHAPE = {"params": 8e9, "layers": 32, "kv_heads": 8, "head_dim": 128, "width": 4096}
CHAT = {"engine": "vllm", "targets": [VLLM], "flags": FLAGS, "version": EMULATED.release, "gpu": "l40s", "model": SHAPE}
LOOKS = 9
ONE_PAGE = "one scrape is no window: there is no load to predict with"


@cache
def pages() -> tuple[str, ...]:
    """Some time of a server whose four seats are always taken, while others wait."""
    return played(every_s=EVERY_S, looks=LOOKS)


def played(*flags: str, every_s: float, looks: int) -> tuple[str, ...]:
    """The pages of such a server, with these flags too."""
    of = fleets.fleet(*FLAGS, *flags, of=EMULATED, workload=chats(2.0))
    of.replicas[0].slow_down(3.0)
    found = []
    for turn in range(looks):
        of.advance(fleets.START_S + every_s * turn)
        found.append(fleets.page(of))
    return tuple(found)


async def watched(at: Site, wire: respx.MockRouter, shown: tuple[str, ...] = (), **more: object) -> None:
    """The service `chat`, scraped for as long as there is something to see."""
    shown = shown or pages()
    serve(wire, VLLM, *shown)
    assert (await at.put("/services/chat", {**CHAT, **more})).status_code == 201
    for _ in shown:
        answer = await at.post("/collect/vllm", {"instance_id": "chat", "endpoint": VLLM})
        assert answer.status_code == 200, answer.text
        await at.clock.sleep(EVERY_S)


async def predicted(at: Site, **body: object) -> dict[str, Any]:
    answer = await at.post("/services/chat/predict", body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def figure(told: dict[str, Any], name: Figure) -> dict[str, Any]:
    found: dict[str, Any] = told["predicted"][name]
    return found


# Settings


async def test_a_change_is_answered_with_figures_intervals_and_flags(at: Site, wire: respx.MockRouter) -> None:
    await watched(at, wire)
    told = await predicted(at, changes={"max_num_seqs": 16})
    assert told["service"] == "chat"
    assert told["changes"] == {"max_num_seqs": 16}
    assert told["flags"] == ["--max-num-seqs=16"]
    assert set(told["predicted"]) == set(Figure)
    for name in Figure:
        one = figure(told, name)
        assert one["low"] <= one["value"] <= one["high"]
    ttft, throughput = figure(told, Figure.TTFT_MEAN), figure(told, Figure.THROUGHPUT)
    assert ttft["direction"] == "down"
    assert ttft["high"] < ttft["now"]
    assert ttft["twin_now"] == pytest.approx(ttft["now"], rel=0.2)
    assert throughput["direction"] == "up"
    assert throughput["direction_only"] is False
    assert told["kv_cache_tokens"] == told["kv_cache_tokens_now"]
    assert "base_s" in told["pinned"]
    assert 0 <= told["residual_ratio"] < 0.1


async def test_a_cache_in_8_bits_holds_twice_the_tokens(at: Site, wire: respx.MockRouter) -> None:
    await watched(at, wire)
    told = await predicted(at, changes={"kv_cache_dtype": "fp8"})
    assert told["kv_cache_tokens"] == 2 * told["kv_cache_tokens_now"]
    assert told["flags"] == ["--kv-cache-dtype=fp8"]


async def test_nothing_changed_is_today_and_what_had_to_be_assumed_is_said(at: Site, wire: respx.MockRouter) -> None:
    await watched(at, wire, gpu=None)
    told = await predicted(at)
    assert (told["changes"], told["flags"]) == ({}, [])
    throughput = figure(told, Figure.THROUGHPUT)
    assert throughput["value"] == pytest.approx(throughput["now"], rel=0.15)
    assert any("the GPU is not known" in note for note in told["notes"])


async def test_a_gpu_that_only_the_server_tells_is_used_and_said(at: Site, wire: respx.MockRouter) -> None:
    gpus = {"nvidia_gpu_models": "GPU 0: NVIDIA L40S"}
    wire.get(url__startswith=f"{VLLM}/server_info").respond(json={"system_env": gpus})
    await watched(at, wire, gpu=None)
    told = await predicted(at)
    assert "the server says that it runs on l40s" in told["notes"]
    assert not any("the GPU is not known" in note for note in told["notes"])


async def test_while_a_canary_runs_other_data_types_the_loop_learns_from_both_kinds(
    at: Site, wire: respx.MockRouter
) -> None:
    other = "http://vllm-1:8000"
    for url, flags in ((VLLM, ()), (other, ("--kv-cache-dtype=fp8",))):
        serve(wire, url, *played(*flags, every_s=5.0, looks=8))
    await at.put("/services/chat", {**CHAT, "targets": [VLLM, other]})
    await at.turn(60.0, every_s=1.0)
    known = at.agent._foresight._knowledge
    assert isinstance(known, MemoryKnowledge)
    assert {key.rpartition(", ")[2] for key in known._known} == {"2/2", "2/1"}


# Load


async def test_a_lighter_load_leaves_nobody_waiting(at: Site, wire: respx.MockRouter) -> None:
    await watched(at, wire)
    for load in ({"rate_per_s": 0.3}, {"scale": 0.15}):
        told = await predicted(at, load=load)
        waiting = figure(told, Figure.WAITING)
        assert waiting["value"] < 1
        assert waiting["now"] > 10
        assert figure(told, Figure.THROUGHPUT)["direction"] == "down"


async def test_longer_answers_keep_others_waiting_longer_also_with_more_seats(at: Site, wire: respx.MockRouter) -> None:
    await watched(at, wire)
    usual, long = [
        figure(await predicted(at, changes={"max_num_seqs": 16}, load=load), Figure.E2E_MEAN)["value"]
        for load in ({}, {"prompt_tokens": 900, "output_tokens": 240})
    ]
    assert long > 2 * usual


# Problems


async def test_what_is_not_known_or_was_not_scraped_has_no_prediction(at: Site) -> None:
    assert problem(await at.post("/services/nobody/predict", {})) == (404, "not-found")
    await at.put("/services/chat", CHAT)
    assert problem(await at.post("/services/chat/predict", {})) == (409, "not-scraped")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"load": {"rate_per_s": 2, "scale": 2}}, "invalid-input"),
        ({"load": {"rate_per_s": 0}}, "invalid-fields"),
        ({"load": {"scale": -1}}, "invalid-fields"),
        ({"load": {"output_tokens": 1e10}}, "invalid-fields"),
        ({"load": {"wind": 3}}, "invalid-fields"),
        ({"changes": {"warp_factor": 9}}, "invalid-fields"),
        ({"changes": {"max_num_seqs": None}}, "invalid-fields"),
    ],
)
async def test_what_cannot_be_meant_is_refused(at: Site, body: dict[str, object], kind: str) -> None:
    await at.put("/services/chat", CHAT)
    assert problem(await at.post("/services/chat/predict", body)) == (422, kind)


async def test_what_must_not_be_changed_or_cannot_be_foretold_is_refused(at: Site, wire: respx.MockRouter) -> None:
    await watched(at, wire)
    for changes, reason in (
        ({"max_num_seqs": 0}, "at least 1"),
        ({"max_num_seqs": "many"}, "whole number"),
        ({"mixed_chunk": True}, "always mixes"),
        ({"tensor_parallel_size": 2}, "does not play"),
        ({"max_num_seqs": 64, "gpu_memory_utilization": 0.2}, "would not start"),
        ({"gpu_memory_utilization": 0.5}, "would not start"),
    ):
        answer = await at.post("/services/chat/predict", {"changes": changes})
        assert problem(answer) == (422, "invalid-input")
        assert reason in answer.json()["detail"]


async def test_one_page_is_too_little_to_predict_from(at: Site, wire: respx.MockRouter) -> None:
    await watched(at, wire, pages()[-1:])
    answer = await at.post("/services/chat/predict", {"changes": {"max_num_seqs": 64}})
    assert problem(answer) == (422, "invalid-input")
    assert answer.json()["detail"] == ONE_PAGE


# Proposals


async def test_proposals_carry_what_the_twin_expects(at: Site, wire: respx.MockRouter) -> None:
    await watched(at, wire)
    told = (await at.get("/services/chat/proposals")).json()
    assert told["predicted_by"] == "the twin"
    first = told["proposals"][0]
    assert first["cause"] == "batch_limit"
    assert first["config_changes"]["max_num_seqs"] > 4
    assert set(first["predicted"]) == set(Figure)
    ttft = first["predicted"]["ttft_mean_s"]
    assert ttft["low"] <= ttft["value"] <= ttft["high"] < ttft["now"]
    assert first["chance_better"] == 1.0
    optimized = (await at.post("/optimize", {"instance_id": "chat", "instance_type": "vllm"})).json()
    assert optimized["predicted_by"] == "the twin"
    assert optimized["optimizations"] == told["proposals"]


async def test_what_was_promoted_on_the_same_engine_is_asked_again(at: Site, wire: respx.MockRouter) -> None:
    change = ((Knob.MAX_NUM_SEQS, 5),)
    plan = replace(PLAN, cause=Cause.BATCH_LIMIT, change=change)
    done = Rollout("r1", Request("batch", "ann"), 0.0, 0.0, Phase.COMPLETED, plan=plan)
    at.agent.manager._rollouts["r1"] = done
    await watched(at, wire)
    await at.get("/services/chat/proposals")
    assert at.agent._foresight._answers["chat"].promoted == ((Cause.BATCH_LIMIT, change),)


async def test_where_the_twin_cannot_be_asked_rules_stand_and_the_reason_is_told(
    at: Site, wire: respx.MockRouter
) -> None:
    """One page shows what is wrong since the start, and no load over time."""
    await watched(at, wire, pages()[-1:])
    told = (await at.get("/services/chat/proposals")).json()
    assert told["predicted_by"] == "rules of thumb; the twin was not asked: " + ONE_PAGE
    assert told["proposals"]
    for proposal in told["proposals"]:
        assert (proposal["predicted"], proposal["chance_better"]) == ({}, None)
        assert "rule of thumb" in proposal["estimated_improvement"]["basis"]


# What a service computes on


async def test_gpu_and_model_are_answered_as_they_were_put(at: Site) -> None:
    put = await at.put("/services/chat", {**CHAT, "gpus": 2})
    assert put.status_code == 201
    told = put.json()
    assert (told["gpu"], told["gpus"], told["model"]) == ("l40s", 2, SHAPE)
    assert (await at.get("/services/chat")).json() == told
    await at.put("/services/chat", {"engine": "vllm", "targets": [VLLM], "gpu": "cpu"})
    told = (await at.get("/services/chat")).json()
    assert (told["gpu"], told["gpus"], told["model"]) == ("cpu", 1, None)


async def test_a_gpu_without_a_data_sheet_is_refused(at: Site) -> None:
    answer = await at.put("/services/chat", {**CHAT, "gpu": "voodoo2"})
    assert problem(answer) == (422, "invalid-input")
    assert "h100" in answer.json()["detail"]
    assert problem(await at.get("/services/chat")) == (404, "not-found")


@pytest.mark.parametrize(
    "change",
    [
        {"gpus": 0},
        {"gpu": ""},
        {"model": {**SHAPE, "layers": 0}},
        {"model": {"params": 8e9}},
        {"model": {**SHAPE, "params": 0}},
    ],
)
async def test_what_no_machine_or_model_is_like_is_refused(at: Site, change: dict[str, object]) -> None:
    assert (await at.put("/services/chat", {**CHAT, **change})).status_code == 422
