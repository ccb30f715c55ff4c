"""The chain that a caller makes, over real HTTP from end to end: collect → analyze → optimize → workflow → status."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from perfagent.clock import VirtualClock
from perfagent.collectors.http import Bounds, HttpScraper
from support.api import SHORT_OF_CACHE, SMALL_STEPS, Recording, Site, page, problem, site
from support.captures import WHOLE
from support.http import Pages, head, server, uvicorn_at_loopback

PAGE_SIZE = 64 << 10


@dataclass(frozen=True)
class Story:
    """A server under load, and what is known of it."""

    engine: str
    pages: tuple[str, ...]
    times: tuple[float, ...]
    flags: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    """Every first cause that is right; none where a single page shows too little to expect one."""


def one_page(engine: str, name: str) -> Story:
    return Story(engine, (page(f"{engine}/{name}"),), (0.0,))


def recorded(recording: Recording) -> Story:
    meta = recording.meta
    causes = tuple(meta["accept"])
    return Story(meta["engine"], tuple(recording.pages), tuple(meta["scrape_times"]), tuple(meta["flags"]), causes)


STORIES = {
    "vllm short of cache": recorded(SHORT_OF_CACHE),
    "vllm with small steps": recorded(SMALL_STEPS),
    "vllm, one page": one_page("vllm", "0.26.0-short-of-seats"),
    "sglang, one page": one_page("sglang", "0.5.23-queueing"),
    "tgi, one page": one_page("tgi", "3.0.0-after-load"),
    "tgi, overloaded": one_page("tgi", "3.3.7-derived-overloaded"),
}
_QUEUEING = WHOLE / "sglang-0.5.23" / "b_queue_max_running_requests"
if _QUEUEING.exists():
    STORIES["sglang with few seats"] = recorded(Recording(_QUEUEING))


@dataclass
class Caller:
    """Somebody with an HTTP client."""

    http: httpx.AsyncClient
    site: Site

    async def post(self, path: str, body: object) -> httpx.Response:
        return await self.http.post(path, json=body)

    async def until_settled(self, workflow: str) -> dict[str, Any]:
        """The workflow as soon as the loop has planned it and waits for a person, or has ended it."""
        for _ in range(500):
            told: dict[str, Any] = (await self.http.get(f"/workflows/{workflow}")).json()
            if told["waiting_for"] or told["status"] in ("completed", "failed"):
                return told
            await asyncio.sleep(0.01)
        raise AssertionError(f"still {told['status']}")


@asynccontextmanager
async def caller(bounds: Bounds = Bounds()) -> AsyncIterator[Caller]:  # noqa: B008
    clock = VirtualClock(pace_s=0.005)
    async with (
        HttpScraper(clock, bounds) as scraper,
        site(clock=clock, scraper=scraper) as at,
        uvicorn_at_loopback(at.app) as base,
        httpx.AsyncClient(base_url=f"{base}/api/v1", trust_env=False, timeout=60) as http,
    ):
        yield Caller(http, at)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_the_chain_holds_for_every_engine(story: Story) -> None:
    slo = {"metric_name": "e2e_latency", "target_value": 0.001}
    async with caller() as by, server(Pages(story.pages)) as url:
        before = story.times[0]
        for at in story.times:
            await by.site.clock.sleep(at - before)
            before = at
            body = {"instance_id": "one", "endpoint": url, "flags": story.flags}
            collected = await by.post(f"/collect/{story.engine}", body)
            assert collected.status_code == 200, collected.text
        assert collected.json()["metrics"]["running"]["value"] >= 0

        asked = {"instance_id": "one", "instance_type": story.engine}
        analyzed = await by.post("/analyze", {**asked, "slo_targets": [slo]})
        assert analyzed.status_code == 200, analyzed.text
        told = analyzed.json()
        assert told["basis"] == ("window" if len(story.times) > 1 else "since_start")
        assert told["slo_statuses"][0]["compliant"] is False
        if story.causes:
            assert told["bottlenecks"][0]["cause"] in story.causes
            assert told["bottlenecks"][0]["recommendation"]

        optimized = await by.post("/optimize", asked)
        assert optimized.status_code == 200, optimized.text
        proposals = optimized.json()["optimizations"]
        if story.causes:
            assert proposals
            basis = "the twin" if len(story.times) > 1 else "rule of thumb"
            assert basis in proposals[0]["estimated_improvement"]["basis"]

        started = await by.post("/workflows", {**asked, "requires_approval": True})
        assert started.status_code == 201, started.text
        assert started.json()["status"] == "pending"
        stop = asyncio.Event()
        loop = asyncio.create_task(by.site.agent.run(stop))
        workflow = started.json()["workflow_id"]
        planned = await by.until_settled(workflow)
        if not proposals:
            assert planned["status"] == "completed"
            assert planned["reason"]
        else:
            assert planned["status"] == "awaiting_approval"
            assert planned["plan"]["config_changes"] == proposals[0]["config_changes"]
            word = {"who": "ann", "why": "looked at it", "plan_hash": planned["plan"]["hash"]}
            approved = await by.post(f"/workflows/{workflow}/approve", word)
            assert approved.json()["status"] == "held", "no actuator: it is told by hand"
            for flag in proposals[0]["flags"]:
                assert flag in approved.json()["reason"]
        stop.set()
        await loop
        assert (await by.http.get("/health/ready")).status_code == 200


async def _down(_path: str, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _slow(_path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(head(1000))
    await writer.drain()
    await asyncio.sleep(0.6)


async def _silent(_path: str, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.6)


async def _huge(_path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(head(None))
    for _ in range(100):
        writer.write(b'vllm:num_requests_running{model_name="m"} 1\n' * 1000)
        await writer.drain()


async def _garbage(_path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(head(None) + b"\x00\x01 this is no metrics page {{{\n" * 10)


async def _no_http(_path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")


async def _cut(_path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(head(10_000) + b"vllm:num_requests_running 1\n")


async def _page_for_people(_path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(head(None, "text/html") + b"<html>It works!</html>")


async def _elsewhere(_path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")


async def _refusal(_path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


MISBEHAVIOUR = {
    "hangs up": (_down, 502, "bad-answer"),
    "dries up": (_slow, 504, "timed-out"),
    "is silent": (_silent, 504, "timed-out"),
    "is huge": (_huge, 502, "too-large"),
    "sends garbage": (_garbage, 502, "bad-answer"),
    "speaks no HTTP": (_no_http, 502, "bad-answer"),
    "is cut off": (_cut, 502, "bad-answer"),
    "is a web page": (_page_for_people, 502, "bad-answer"),
    "redirects": (_elsewhere, 502, "bad-answer"),
    "refuses": (_refusal, 502, "bad-answer"),
    "is SGLang": (Pages([page("sglang/0.5.23-queueing")]), 502, "wrong-engine"),
    "is no engine": (Pages(["up 1\n"]), 502, "wrong-engine"),
}


@pytest.mark.parametrize(("answer", "status", "slug"), MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
async def test_an_endpoint_that_misbehaves_is_a_clear_problem(answer: Any, status: int, slug: str) -> None:
    bounds = Bounds(connect_s=0.3, read_s=0.3, total_s=0.5, page_bytes=PAGE_SIZE)
    async with caller(bounds) as by, server(answer) as url:
        refused = await by.post("/collect/vllm", {"instance_id": "one", "endpoint": url})
        assert problem(refused) == (status, slug)
        assert url in refused.json()["detail"]
        assert (await by.http.get("/services")).json()["services"] == []


async def test_an_endpoint_where_nobody_listens_is_unreachable() -> None:
    async with caller() as by:
        async with server(_garbage) as url:
            pass
        refused = await by.post("/collect/vllm", {"instance_id": "one", "endpoint": url})
        assert problem(refused) == (502, "unreachable")


async def test_events_of_a_workflow_come_over_the_wire() -> None:
    async with caller() as by:
        put = {"engine": "vllm", "targets": ["http://127.0.0.1:1"]}
        assert (await by.http.put("/services/chat", json=put)).status_code == 201
        async with by.http.stream("GET", "/events", timeout=5) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == ": listening"
            changes = {"service": "chat", "config_changes": {"max_num_seqs": 9}}
            workflow = (await by.post("/workflows", changes)).json()["workflow_id"]
            data = [line async for line in _until_data(lines)][-1]
        event = json.loads(data.removeprefix("data: "))
        assert (event["workflow_id"], event["seq"], event["kind"]) == (workflow, 0, "requested")


async def _until_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if line.startswith("data: "):
            return
