from pathlib import Path

import httpx
import pytest
import respx

from perfagent.actuators.process.engine import engine_process
from perfagent.actuators.process.server import answers, idle
from perfagent.clock import VirtualClock
from perfagent.collectors.http import HttpScraper
from perfagent.domain.service import replica

URL = "http://127.0.0.1:8101"
ONE = engine_process(replica("chat", URL), "vllm", ("vllm", "{port}"), (), {}, folder=Path("/"))


@respx.mock
@pytest.mark.parametrize(
    ("health", "models", "serves"),
    [(200, 200, True), (200, 401, True), (200, 404, True), (200, 500, False), (503, 200, False)],
)
async def test_it_serves_where_health_is_good_and_models_are_told_or_closed(
    health: int, models: int, serves: bool
) -> None:
    respx.get(f"{URL}/health").respond(health)
    respx.get(f"{URL}/v1/models").respond(models)
    async with httpx.AsyncClient() as client:
        assert await answers(client, ONE) is serves


@respx.mock
async def test_a_closed_port_serves_nobody() -> None:
    respx.get(f"{URL}/health").mock(side_effect=httpx.ConnectError)
    async with httpx.AsyncClient() as client:
        assert not await answers(client, ONE)


@respx.mock
@pytest.mark.parametrize(
    ("page", "nobody_waits"),
    [
        ("vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n", True),
        ("vllm:num_requests_running 1\nvllm:num_requests_waiting 0\n", False),
        ("vllm:num_requests_running 0\nvllm:num_requests_waiting 2\n", False),
        ("vllm:num_requests_running 0\n", False),
        ("no page", False),
    ],
)
async def test_only_a_page_without_a_request_shows_that_nobody_waits(page: str, nobody_waits: bool) -> None:
    respx.get(f"{URL}/metrics").respond(200, text=page, headers={"content-type": "text/plain; version=0.0.4"})
    async with HttpScraper(VirtualClock()) as scraper:
        assert await idle(scraper, ONE) is nobody_waits


@respx.mock
async def test_where_nobody_listens_nobody_waits_and_a_slow_answer_tells_nothing() -> None:
    page = respx.get(f"{URL}/metrics")
    async with HttpScraper(VirtualClock()) as scraper:
        page.mock(side_effect=httpx.ConnectError)
        assert await idle(scraper, ONE)
        page.mock(side_effect=httpx.ReadTimeout)
        assert not await idle(scraper, ONE)
