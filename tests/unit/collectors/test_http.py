"""What a server answers becomes a snapshot or a named error; the wire is faked by respx."""

import gzip
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import respx
from prometheus_client.exposition import choose_encoder

from perfagent.clock import VirtualClock
from perfagent.collectors.http import Bounds, HttpScraper
from perfagent.domain.errors import BadAnswer, InvalidInput, TimedOut, TooLarge, Unreachable, WrongEngine
from perfagent.domain.knob import Knob, LaunchConfig, Source
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Target
from perfagent.twin.models import QWEN_2_5_7B
from support.pages import FIXTURES

VLLM = (FIXTURES / "pages" / "vllm-0.26.0.prom").read_bytes()
SGLANG = (FIXTURES / "pages" / "sglang-0.4.prom").read_bytes()
REPLICA = Target("r1", "http://replica:8000")
URL = "http://replica:8000/metrics"


def sent(content: bytes, **headers: str) -> httpx.Response:
    """An answer as it comes over the wire: not unpacked."""
    plain = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, headers=plain, stream=httpx.ByteStream(content))


@pytest.fixture
async def scraper() -> AsyncIterator[HttpScraper]:
    async with HttpScraper(VirtualClock(), Bounds(page_bytes=100_000, page_lines=2000)) as opened:
        yield opened


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


async def test_a_page_becomes_a_snapshot_at_the_moment_of_its_answer(
    scraper: HttpScraper, wire: respx.MockRouter
) -> None:
    asked = wire.get(URL).respond(content=VLLM)
    seen = await scraper.scrape(REPLICA, "vllm")
    assert (seen.target, seen.engine, seen.at_s) == ("r1", "vllm", 1_800_000_000.0)
    assert sum(seen.scalars[Metric.RUNNING].values()) == 54
    _, kind = choose_encoder(asked.calls.last.request.headers["accept"])
    assert kind.startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(("page", "engine"), [(VLLM, "vllm"), (SGLANG, "sglang")])
async def test_an_engine_that_was_not_named_is_recognised(
    scraper: HttpScraper, wire: respx.MockRouter, page: bytes, engine: str
) -> None:
    wire.get(URL).respond(content=page)
    assert (await scraper.scrape(REPLICA, None)).engine == engine
    assert await scraper.scrape(REPLICA, None) == await scraper.scrape(REPLICA, engine)


async def test_a_gzipped_page_reads_as_the_plain_one(scraper: HttpScraper, wire: respx.MockRouter) -> None:
    wire.get(URL).respond(content=VLLM)
    plain = await scraper.scrape(REPLICA, "vllm")
    wire.get(URL).mock(return_value=sent(gzip.compress(VLLM), content_encoding="gzip"))
    assert await scraper.scrape(REPLICA, "vllm") == plain


async def test_an_address_may_have_a_path(scraper: HttpScraper, wire: respx.MockRouter) -> None:
    wire.get("http://gate/chat/metrics").respond(content=VLLM)
    assert (await scraper.scrape(Target("r1", "http://gate/chat/"), "vllm")).engine == "vllm"


async def test_an_empty_page_is_a_snapshot_without_figures_when_the_engine_is_known(
    scraper: HttpScraper, wire: respx.MockRouter
) -> None:
    wire.get(URL).respond(content=b"")
    seen = await scraper.scrape(REPLICA, "tgi")
    assert (seen.engine, dict(seen.scalars), dict(seen.histograms)) == ("tgi", {}, {})
    with pytest.raises(BadAnswer, match="metrics: the page is empty, so the engine cannot be told"):
        await scraper.scrape(REPLICA, None)


async def test_another_engines_page_is_named(scraper: HttpScraper, wire: respx.MockRouter) -> None:
    wire.get(URL).respond(content=SGLANG)
    with pytest.raises(WrongEngine, match="http://replica:8000/metrics: the page is sglang's, not vllm's"):
        await scraper.scrape(REPLICA, "vllm")


@pytest.mark.parametrize(("engine", "whose"), [("vllm", "vllm's"), (None, "an engine that we know")])
async def test_a_page_of_no_engine_is_named(
    scraper: HttpScraper, wire: respx.MockRouter, engine: str | None, whose: str
) -> None:
    wire.get(URL).respond(content=b'process_start_time_seconds 1.7e9\nhttp_requests_total{code="200"} 4\n')
    with pytest.raises(WrongEngine, match=f"without any of {whose}: are they switched off"):
        await scraper.scrape(REPLICA, engine)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            httpx.Response(404),
            "answered 404 Not Found: is it the server's own address, and are its metrics switched on",
        ),
        (httpx.Response(503), "answered 503 Service Unavailable"),
        (httpx.Response(302, headers={"location": "http://evil/metrics"}), "Found to 'http://evil/metrics': redirects"),
        (httpx.Response(200, html="<html><body>Hello</body></html>"), "no metrics page but text/html"),
        (httpx.Response(200, json={"detail": "Hello"}), "no metrics page but application/json"),
        (httpx.Response(200, text="hello, world\n"), "line 1 is not a sample: 'hello, world'"),
        (httpx.Response(200, content=b"\x89PNG\r\n"), "not UTF-8"),
        (httpx.Response(200, content=VLLM[:-3]), "cut off in line 587"),
        (
            httpx.Response(200, content=VLLM, headers={"content-type": "application/openmetrics-text"}),
            "ends with '# EOF'",
        ),
        (sent(VLLM, content_encoding="br"), "answered in br, which was not asked"),
        (
            sent(gzip.compress(VLLM)[:-9], content_encoding="gzip"),
            "gzip that is cut",
        ),
        (
            sent(gzip.compress(VLLM[: VLLM.index(b"\n") + 1]) + gzip.compress(VLLM), content_encoding="gzip"),
            "gzip that does not end with the page",
        ),
    ],
)
async def test_what_is_no_whole_metrics_page_is_refused_with_the_reason(
    scraper: HttpScraper, wire: respx.MockRouter, answer: httpx.Response, reason: str
) -> None:
    wire.get(URL).mock(return_value=answer)
    with pytest.raises(BadAnswer, match=reason):
        await scraper.scrape(REPLICA, "vllm")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=VLLM * 3),
        sent(gzip.compress(b"\n" * 100_001), content_encoding="gzip"),
        httpx.Response(200, content=b"a 1\n" * 2001),
    ],
    ids=["bytes", "unpacked bytes", "lines"],
)
async def test_a_page_beyond_its_bounds_is_too_large(
    scraper: HttpScraper, wire: respx.MockRouter, answer: httpx.Response
) -> None:
    wire.get(URL).mock(return_value=answer)
    with pytest.raises(TooLarge, match=r"more than (100000 bytes|2000 lines)"):
        await scraper.scrape(REPLICA, "vllm")


@pytest.mark.parametrize(
    ("failure", "named"),
    [
        (httpx.ConnectError("refused"), Unreachable),
        (httpx.ReadError(""), Unreachable),
        (httpx.ConnectTimeout(""), TimedOut),
        (httpx.ReadTimeout(""), TimedOut),
        (httpx.RemoteProtocolError("illegal status line"), BadAnswer),
    ],
)
async def test_a_failure_on_the_wire_has_a_name(
    scraper: HttpScraper, wire: respx.MockRouter, failure: Exception, named: type[Exception]
) -> None:
    wire.get(URL).mock(side_effect=failure)
    with pytest.raises(named, match="http://replica:8000/metrics"):
        await scraper.scrape(REPLICA, "vllm")


@pytest.mark.parametrize(
    "url",
    [
        "replica:8000",
        "ftp://replica",
        "http://",
        "http://[::1",
        "http://xn--",
        "http://me:secret@replica",
        "http://replica?a=1",
    ],
)
async def test_what_is_no_address_is_refused_without_telling_secrets(scraper: HttpScraper, url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await scraper.scrape(Target("r1", url), "vllm")
    assert "secret" not in str(refused.value)


async def test_the_configuration_is_read_from_endpoints_flags_and_defaults(
    scraper: HttpScraper, wire: respx.MockRouter
) -> None:
    wire.get(URL).respond(content=SGLANG)
    wire.get("http://replica:8000/server_info").respond(json={"version": "0.5.23", "max_running_requests": 7})
    wire.get(url__startswith="http://replica:8000/").respond(404)
    seen = await scraper.scrape(REPLICA, "sglang")
    config = await scraper.read_config(REPLICA, seen, LaunchConfig(("--mem-fraction-static=0.2",)))
    assert config.release == "0.5.23"
    assert config.settings[Knob.MAX_NUM_SEQS].value == 7
    assert config.settings[Knob.GPU_MEMORY_UTILIZATION].source is Source.FLAG


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(401), httpx.Response(200, text="[" * 100_000), httpx.Response(200, content=b"\xff")],
    ids=["closed", "nested without end", "not text"],
)
async def test_an_endpoint_that_tells_nothing_is_no_error(
    scraper: HttpScraper, wire: respx.MockRouter, answer: httpx.Response
) -> None:
    wire.get(URL).respond(content=VLLM)
    wire.get(url__startswith="http://replica:8000/").mock(return_value=answer)
    seen = await scraper.scrape(REPLICA, "vllm")
    config = await scraper.read_config(REPLICA, seen, LaunchConfig(("--max-num-seqs=8",)))
    assert config.value(Knob.MAX_NUM_SEQS) == 8


async def test_what_a_server_tells_of_its_gpu_and_model_is_read_with_its_configuration(
    scraper: HttpScraper, wire: respx.MockRouter
) -> None:
    wire.get(URL).respond(content=SGLANG)
    info = {"model_path": "Qwen/Qwen2.5-7B-Instruct", "api_key": "sk-secret"}
    wire.get("http://replica:8000/server_info").respond(json=info)
    wire.get("http://replica:8000/v1/loads").respond(json={"accelerator": "NVIDIA H200", "num_accelerators": 2})
    wire.get(url__startswith="http://replica:8000/").respond(404)
    config = await scraper.read_config(REPLICA, await scraper.scrape(REPLICA, "sglang"), LaunchConfig())
    assert (config.machine.gpu, config.machine.gpus) == ("h200", 2)
    assert config.machine.shape == QWEN_2_5_7B
    assert "sk-" not in repr(config)
