"""Scrapes replicas over HTTP: one pooled client, and a bound on everything the other side may do to us.

A server that is down, slow, huge, or not what it was said to be is an ordinary answer here, named by its error class.
Redirects are refused rather than followed: a replica's address is the replica's, and what stands behind another one is
not what was asked for.
"""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from types import TracebackType
from typing import Self, TypeVar, cast

import httpx

from perfagent import __version__, engines
from perfagent.collectors.exposition import MAX_LINES
from perfagent.collectors.machine import found
from perfagent.collectors.page import PageReader
from perfagent.domain.errors import BadAnswer, InvalidInput, TimedOut, TooLarge, Unavailable, Unreachable
from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.quality import Answer
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.ports import Clock

V = TypeVar("V")

_METRICS_PATH = "/metrics"
# alone: vLLM's and SGLang's exporter answers in OpenMetrics wherever that is named, however little it is preferred
_ACCEPT = "text/plain;version=0.0.4"
_JSON = {"accept": "application/json"}
_MODELS_PATH = "/v1/models"
_GZIP = 16 + zlib.MAX_WBITS
_trusted = cache(httpx.create_ssl_context)
"""The certificates that servers are checked by; loading them takes 30 ms, so once per process."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a server is allowed to cost. A page of two ranks has 130 kB and takes milliseconds."""

    connect_s: float = 2.0
    read_s: float = 5.0
    """Longest silence."""
    total_s: float = 10.0
    """From the first attempt to connect to the last byte, for a server that drips."""
    page_bytes: int = 8 << 20
    """Of the page itself: compressed bytes count as what they become."""
    page_lines: int = MAX_LINES
    config_s: float = 3.0
    """For each endpoint that may tell the configuration."""
    config_bytes: int = 2 << 20
    answer_s: float = 60.0
    """For an answer to a prompt, which may have to wait for its turn."""
    answer_bytes: int = 1 << 20
    connections: int = 100
    idle_s: float = 3.0
    """How long an idle connection is kept: less than the 5 s after which uvicorn, under vLLM and SGLang, closes it."""


class HttpScraper:
    """`ports.Scraper` and `ports.Prober` over HTTP. Close it, or use it as an async context manager.

    The `api_key` is told to replicas when they are asked for answers, and at no other time.
    """

    def __init__(self, clock: Clock, bounds: Bounds = Bounds(), api_key: str | None = None) -> None:
        self._clock = clock
        self._bounds = bounds
        self._key = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
        self._pages = PageReader(bounds.page_lines)
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(bounds.read_s, connect=bounds.connect_s, pool=None),
            limits=httpx.Limits(max_connections=bounds.connections, keepalive_expiry=bounds.idle_s),
            follow_redirects=False,
            trust_env=False,
            verify=_trusted(trust_env=False),
            headers={"accept-encoding": "gzip", "user-agent": f"perfagent/{__version__}"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def scrape(self, target: Target, engine: str | None) -> Snapshot:
        """The replica at the moment its answer began. With `engine` None it is recognised by its page.

        An empty page of an engine that was named is a snapshot without figures: TGI answers so until its first event.

        Raises `InvalidInput` for an address that is none, `Unreachable`, `TimedOut`, `TooLarge`, `WrongEngine`, and
        `BadAnswer` for whatever else is no whole metrics page.
        """
        return (await self.scrape_page(target, engine))[0]

    async def scrape_page(self, target: Target, engine: str | None) -> tuple[Snapshot, bytes]:
        """The same beside the page that it was read from."""
        url = _address(target.url, _METRICS_PATH)
        async with self._answer(url, self._bounds.total_s, {"accept": _ACCEPT}) as response:
            at_s = self._clock.now()
            kind = response.headers.get("content-type", "")
            if kind.startswith(("text/html", "application/json")):
                raise BadAnswer(f"{url} is no metrics page but {kind}")
            page = await _body(response, self._bounds.page_bytes)
        openmetrics = kind.startswith("application/openmetrics-text")
        try:
            return self._pages.read(page, engine, target=target.id, at_s=at_s, openmetrics=openmetrics), page
        except BadAnswer as error:
            raise type(error)(f"{url}: {error}") from error

    async def read_config(
        self, target: Target, snapshot: Snapshot, launch: LaunchConfig, release: str | None = None
    ) -> EffectiveConfig:
        """How the replica is set: what its endpoints tell, then the flags given, then the release's defaults."""
        paths = engines.endpoints(snapshot.engine)
        told = await asyncio.gather(*(self._json(_address(target.url, path)) for path in paths))
        answers = {path: answer for path, answer in zip(paths, told, strict=True) if answer is not None}
        config = engines.effective(snapshot.engine, launch, snapshot.info, answers, release)
        return replace(config, machine=found(engines.hosted(snapshot.engine, answers)))

    async def ask(self, target: Target, engine: str, prompt: str, tokens: int) -> Answer:
        """What the replica answers when it always takes the likeliest token, at most so many of them.

        Raises like `scrape`, but never `WrongEngine`.
        """
        model = ""
        if engines.names_model(engine):
            url = _address(target.url, _MODELS_PATH)
            model = await self._asked(url, self._bounds.config_s, engines.served_model)
        path, body = engines.question(engine, model, prompt, tokens)
        url = _address(target.url, path)
        return await self._asked(url, self._bounds.answer_s, partial(engines.answered, engine), body)

    async def _asked(
        self, url: str, total_s: float, read: Callable[[object], V], body: Mapping[str, object] | None = None
    ) -> V:
        async with self._answer(url, total_s, {**_JSON, **self._key}, body) as response:
            page = await _body(response, self._bounds.answer_bytes)
        try:
            return read(_parsed(page))
        except BadAnswer as error:
            raise BadAnswer(f"{url}: {error}") from error

    async def _json(self, url: str) -> object | None:
        """What an endpoint tells, or None where it is missing, closed, slow or no JSON."""
        try:
            async with self._answer(url, self._bounds.config_s, _JSON) as response:
                return _parsed(await _body(response, self._bounds.config_bytes))
        except Unavailable:
            return None

    @asynccontextmanager
    async def _answer(
        self, url: str, total_s: float, headers: Mapping[str, str], body: Mapping[str, object] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """A 200, its body yet to be read; everything until this context is left takes at most `total_s`.

        With a `body` it is a POST, and the server may be silent for all that time.
        """
        method, silent_s = ("GET", self._bounds.read_s) if body is None else ("POST", total_s)
        patience = httpx.Timeout(silent_s, connect=self._bounds.connect_s, pool=None)
        try:
            async with (
                asyncio.timeout(total_s),
                self._client.stream(method, url, headers=dict(headers), json=body, timeout=patience) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise BadAnswer(_refusal(url, response))
                yield response
        except TimeoutError as error:
            raise TimedOut(f"{url} took longer than {total_s:g} s") from error
        except httpx.TimeoutException as error:
            raise TimedOut(f"{url} was silent too long ({type(error).__name__})") from error
        except httpx.RemoteProtocolError as error:
            raise BadAnswer(f"{url} did not answer in whole HTTP: {error}") from error
        except httpx.TransportError as error:
            raise Unreachable(f"{url} cannot be reached: {error or type(error).__name__}") from error


def _address(base: str, path: str) -> str:
    """The address of `path`, which may have a query, on a replica.

    Raises `InvalidInput` where `base` is no plain address of a server.
    """
    try:
        url = httpx.URL(base)
        host = url.host  # which may only now be found to be no name: `xn--`
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InvalidInput(f"{base!r} is no address: {error}") from error
    if url.scheme not in ("http", "https") or not host:
        raise InvalidInput(f"{base!r} is no address: it begins with http:// or https:// and names a host")
    if url.userinfo or url.query or url.fragment:
        raise InvalidInput("an address holds no credentials, query or fragment: scheme, host, port and path alone")
    return str(url).rstrip("/") + path


def _parsed(page: bytes) -> object:
    """Raises `BadAnswer` for what is no JSON."""
    try:
        return cast("object", json.loads(page))
    except (ValueError, RecursionError) as error:
        raise BadAnswer("it is no JSON") from error


def _refusal(url: str, response: httpx.Response) -> str:
    answered = f"{url} answered {response.status_code} {response.reason_phrase}".rstrip()
    if response.has_redirect_location:
        return f"{answered} to {response.headers['location']!r}: redirects are not followed, give the address itself"
    if response.status_code == httpx.codes.NOT_FOUND and url.endswith(_METRICS_PATH):
        return f"{answered}: is it the server's own address, and are its metrics switched on?"
    return answered


async def _body(response: httpx.Response, limit: int) -> bytes:
    """The whole body, unpacked; raises `TooLarge` as soon as it exceeds `limit` bytes, `BadAnswer` where it is cut."""
    url = response.url
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip"):
        raise BadAnswer(f"{url} answered in {coding}, which was not asked for")
    unzip = zlib.decompressobj(_GZIP) if coding == "gzip" else None
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            # zlib gives out at most one byte too many, however much a chunk would become
            body += unzip.decompress(chunk, limit + 1 - len(body)) if unzip else chunk
            if len(body) > limit:
                raise TooLarge(f"{url} has more than {limit} bytes")
            if unzip and unzip.unused_data:
                raise BadAnswer(f"{url} sent gzip that does not end with the page")
    except zlib.error as error:
        raise BadAnswer(f"{url} sent gzip that cannot be unpacked: {error}") from error
    if unzip and response.num_bytes_downloaded and not unzip.eof:
        raise BadAnswer(f"{url} sent gzip that is cut off")
    return bytes(body)
