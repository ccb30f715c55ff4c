"""The scraper against servers that misbehave on a real socket."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic

import pytest

from perfagent.clock import SystemClock
from perfagent.collectors.http import Bounds, HttpScraper
from perfagent.domain.errors import AgentError, BadAnswer, TimedOut, TooLarge, Unreachable
from perfagent.domain.snapshot import Target
from support.pages import FIXTURES

PAGE = (FIXTURES / "pages" / "vllm-0.26.0.prom").read_bytes()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Target]:
    busy: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        busy.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Target("r1", f"http://127.0.0.1:{port}")
    finally:
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy)
        server.close()
        await server.wait_closed()


async def refused_by(answer: Answer, bounds: Bounds) -> tuple[AgentError, float]:
    """The error that a server's answer leads to, and how long that took."""
    async with serving(answer) as target, HttpScraper(SystemClock(), bounds) as scraper:
        begun = monotonic()
        with pytest.raises(AgentError) as refused:
            await scraper.scrape(target, "vllm")
        return refused.value, monotonic() - begun


async def test_a_real_answer_is_read() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(PAGE) + PAGE)

    async with serving(answer) as target, HttpScraper(SystemClock()) as scraper:
        assert (await scraper.scrape(target, None)).engine == "vllm"


async def test_a_server_that_drips_is_left_when_the_total_time_is_up() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\n")
        for line in PAGE.splitlines(keepends=True)[:100]:
            writer.write(line)
            await writer.drain()
            await asyncio.sleep(0.05)

    error, took_s = await refused_by(answer, Bounds(read_s=0.2, total_s=0.4))
    assert isinstance(error, TimedOut)
    assert "took longer than 0.4 s" in str(error)
    assert took_s < 2


async def test_a_silent_server_is_left() -> None:
    async def answer(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)

    error, took_s = await refused_by(answer, Bounds(read_s=0.1))
    assert isinstance(error, TimedOut)
    assert took_s < 0.9


async def test_a_page_without_end_is_left_at_the_bound() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\n")
        while not writer.is_closing():
            writer.write(b"a 1\n" * 10_000)
            await writer.drain()

    error, _ = await refused_by(answer, Bounds(page_bytes=1 << 20))
    assert isinstance(error, TooLarge)


async def test_a_small_body_that_unpacks_to_a_huge_one_is_left_at_the_bound() -> None:
    packed = gzip.compress(b"a 1\n" * (16 << 20))

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)

    error, _ = await refused_by(answer, Bounds(page_bytes=1 << 20))
    assert isinstance(error, TooLarge)


async def test_what_follows_a_gzipped_page_is_not_taken_in() -> None:
    sent = 0

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(PAGE))
        while not writer.is_closing() and sent < 64 << 20:
            writer.write(bytes(1 << 16))
            sent += 1 << 16
            await writer.drain()

    error, _ = await refused_by(answer, Bounds(page_bytes=1 << 20))
    assert isinstance(error, BadAnswer)
    assert sent < 32 << 20


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 46959\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nffff\r\n", b"\r\n"],
    ids=["shorter than declared", "unfinished chunk", "no length at all"],
)
async def test_a_connection_that_breaks_in_mid_page_yields_no_figures(head: bytes) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + head + PAGE[:20_000])

    error, _ = await refused_by(answer, Bounds())
    assert isinstance(error, BadAnswer)


async def test_a_page_that_is_called_gzip_and_is_not_is_a_bad_answer() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Encoding: gzip\r\n\r\n" + PAGE)

    error, _ = await refused_by(answer, Bounds())
    assert isinstance(error, BadAnswer)
    assert "cannot be unpacked" in str(error)


async def test_something_that_does_not_speak_http_is_a_bad_answer() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")

    error, _ = await refused_by(answer, Bounds())
    assert isinstance(error, BadAnswer)


async def test_nobody_listening_is_unreachable() -> None:
    async def answer(_: asyncio.StreamWriter) -> None: ...

    async with serving(answer) as target:
        pass
    async with HttpScraper(SystemClock()) as scraper:
        with pytest.raises(Unreachable):
            await scraper.scrape(target, "vllm")
