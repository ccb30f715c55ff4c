"""Replicas are asked for answers over the wire, which is faked by respx."""

import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import respx

from perfagent.clock import VirtualClock
from perfagent.collectors.http import Bounds, HttpScraper
from perfagent.domain.errors import BadAnswer, TimedOut, TooLarge, Unreachable
from perfagent.domain.quality import Answer
from perfagent.domain.snapshot import Target
from support.pages import FIXTURES

REPLICA = Target("r1", "http://replica:8000")
MODELS, COMPLETIONS = "http://replica:8000/v1/models", "http://replica:8000/v1/completions"
WIRE = (FIXTURES / "answers" / "vllm-0.32.0.json").read_bytes()


@pytest.fixture
async def prober() -> AsyncIterator[HttpScraper]:
    async with HttpScraper(VirtualClock(), Bounds(answer_bytes=10_000)) as opened:
        yield opened


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        router.get(MODELS).respond(json={"data": [{"id": "llama"}]})
        router.post(COMPLETIONS).respond(content=WIRE)
        yield router


async def test_a_replica_is_asked_by_the_name_of_its_model(prober: HttpScraper, wire: respx.MockRouter) -> None:
    answer = await prober.ask(REPLICA, "vllm", "The sky is", 4)
    assert answer.tokens == ("l",) * 4
    assert len(answer.logprobs) == 4
    asked = wire.calls.last.request
    assert json.loads(asked.content)["model"] == "llama"
    assert json.loads(asked.content)["prompt"] == "The sky is"
    assert "authorization" not in asked.headers


async def test_the_key_is_told_where_answers_are_asked_for_and_nowhere_else(wire: respx.MockRouter) -> None:
    page = (FIXTURES / "pages" / "vllm-0.26.0.prom").read_bytes()
    scraped = wire.get("http://replica:8000/metrics").respond(content=page)
    async with HttpScraper(VirtualClock(), api_key="secret") as prober:
        await prober.scrape(REPLICA, "vllm")
        assert "authorization" not in scraped.calls.last.request.headers
        await prober.ask(REPLICA, "vllm", "x", 4)
    keys = [call.request.headers.get("authorization") for call in wire.calls]
    assert keys == [None, "Bearer secret", "Bearer secret"]


async def test_tgi_needs_no_name(prober: HttpScraper, wire: respx.MockRouter) -> None:
    told = {"generated_text": "x", "details": {"tokens": [{"id": 1, "text": "x", "logprob": -0.1}]}}
    wire.post("http://replica:8000/generate").respond(json=told)
    assert await prober.ask(REPLICA, "tgi", "The sky is", 4) == Answer(("x",), (-0.1,))
    assert len(wire.calls) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503, 302])
async def test_a_refusal_says_who_refused_what(prober: HttpScraper, wire: respx.MockRouter, status: int) -> None:
    wire.post(COMPLETIONS).respond(status)
    with pytest.raises(BadAnswer, match=f"{COMPLETIONS} answered {status}") as caught:
        await prober.ask(REPLICA, "vllm", "x", 4)
    assert "metrics" not in str(caught.value)


@pytest.mark.parametrize("page", [b"", b"<html>", b"{}", b"[" * 9_000])
async def test_what_is_no_answer_says_who_gave_it(prober: HttpScraper, wire: respx.MockRouter, page: bytes) -> None:
    wire.post(COMPLETIONS).respond(content=page)
    with pytest.raises(BadAnswer, match=f"^{COMPLETIONS}: it "):
        await prober.ask(REPLICA, "vllm", "x", 4)


async def test_a_server_without_a_model_is_not_asked(prober: HttpScraper, wire: respx.MockRouter) -> None:
    wire.get(MODELS).respond(json={"data": []})
    with pytest.raises(BadAnswer, match=f"^{MODELS}: it named no model"):
        await prober.ask(REPLICA, "vllm", "x", 4)


async def test_an_endless_answer_is_not_read(prober: HttpScraper, wire: respx.MockRouter) -> None:
    wire.post(COMPLETIONS).respond(content=b" " * 10_001)
    with pytest.raises(TooLarge):
        await prober.ask(REPLICA, "vllm", "x", 4)


@pytest.mark.parametrize(
    ("failure", "named"),
    [(httpx.ReadTimeout("slow"), TimedOut), (httpx.ConnectError("refused"), Unreachable)],
)
async def test_a_server_that_is_gone_is_named_so(
    prober: HttpScraper, wire: respx.MockRouter, failure: Exception, named: type[Exception]
) -> None:
    wire.post(COMPLETIONS).mock(side_effect=failure)
    with pytest.raises(named, match=COMPLETIONS):
        await prober.ask(REPLICA, "vllm", "x", 4)


async def test_an_answer_may_take_longer_than_a_scrape(prober: HttpScraper, wire: respx.MockRouter) -> None:
    await prober.ask(REPLICA, "vllm", "x", 4)
    patience = [call.request.extensions["timeout"]["read"] for call in wire.calls]
    assert patience == [Bounds().read_s, Bounds().answer_s]
