"""The REST application over an agent on a virtual clock, and recorded servers that it scrapes at the wire."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import respx
from fastapi import FastAPI

from perfagent.api import create_app
from perfagent.api.parts import Parts
from perfagent.clock import SystemClock, VirtualClock
from perfagent.collectors.fleet import Fleet
from perfagent.collectors.http import HttpScraper
from perfagent.loop import Agent
from perfagent.optimizers import Effort
from perfagent.ports import Actuator, Prober, Scraper
from perfagent.settings import Settings
from perfagent.store.memory import Held, MemoryHistory, MemoryJournal, MemoryKnowledge, MemoryLease, MemoryServices
from perfagent.telemetry.events import ObservedJournal
from perfagent.telemetry.metrics import Telemetry
from perfagent.workflows.leadership import Leadership
from perfagent.workflows.model import Pace
from support.captures import FIXTURES
from support.pages import REPO

API = "http://agent/api/v1"
PAGES = REPO / "tests" / "fixtures" / "engines"
VLLM = "http://vllm:8000"


@dataclass
class Site:
    """An agent, its application, and a client of it."""

    agent: Agent
    app: FastAPI
    client: httpx.AsyncClient
    clock: VirtualClock
    journal: ObservedJournal
    telemetry: Telemetry
    parts: Parts

    async def get(self, path: str, **query: str | int) -> httpx.Response:
        """GET below `/api/v1`."""
        return await self._ask("GET", path, params=query)

    async def post(self, path: str, body: object = None) -> httpx.Response:
        """POST below `/api/v1`."""
        return await self._ask("POST", path, json=body)

    async def put(self, path: str, body: object) -> httpx.Response:
        """PUT below `/api/v1`."""
        return await self._ask("PUT", path, json=body)

    async def delete(self, path: str) -> httpx.Response:
        """DELETE below `/api/v1`."""
        return await self._ask("DELETE", path)

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        self.app.state.parts = self.parts  # there may be two sites at a time
        return await self.client.request(method, f"{API}{path}", **more)

    async def turn(self, seconds: float, *, every_s: float = 10.0) -> None:
        """Let the loop turn while time passes."""
        for _ in range(max(1, round(seconds / every_s))):
            await self.clock.sleep(every_s)
            await self.agent.tick()


_APPS: list[FastAPI] = []


def _app(parts: Parts) -> FastAPI:
    """One application for all tests, given other parts each time: building its routes takes longer than most tests."""
    if not _APPS:
        _APPS.append(
            create_app(
                parts.agent, clock=parts.clock, settings=parts.settings, registry=parts.registry, feed=parts.feed
            )
        )
    _APPS[0].state.parts = parts
    return _APPS[0]


@dataclass
class Records:
    """What agents share."""

    held: Held = field(default_factory=Held)
    history: MemoryHistory = field(default_factory=MemoryHistory)
    services: MemoryServices = field(default_factory=MemoryServices)
    knowledge: MemoryKnowledge = field(default_factory=MemoryKnowledge)

    def __post_init__(self) -> None:
        self.journal = MemoryJournal(self.held)


QUICK = Effort(screening=2, finalists=2, doubtful=1, draws=4)
"""Enough to see that the twin is asked."""


@asynccontextmanager
async def site(
    *,
    clock: VirtualClock | None = None,
    scraper: Scraper | None = None,
    prober: Prober | None = None,
    actuators: Mapping[str, Actuator] | None = None,
    pace: Pace | None = None,
    window_s: float = 300.0,
    queue: int = 256,
    listeners: int = 64,
    records: Records | None = None,
    name: str = "this agent",
) -> AsyncIterator[Site]:
    """An agent with everything in memory; without `scraper` it scrapes over HTTP, and without `prober` it asks so.

    With the same `records` and another `name` it shares them with another site.
    """
    records = records or Records()
    clock = clock or VirtualClock()
    telemetry = Telemetry(clock)
    journal = ObservedJournal(records.journal, queue=queue, listeners=listeners)
    lead = Leadership(MemoryLease(name, SystemClock(), records.held), SystemClock())
    lead.renew()
    async with HttpScraper(clock) as over_http:
        measured = telemetry.measured(scraper or over_http)
        agent = Agent(
            clock=clock,
            scraper=measured,
            prober=prober or over_http,
            collector=Fleet(measured, clock),
            history=records.history,
            services=records.services,
            journal=journal,
            lead=lead,
            actuators=actuators or {},
            pace=pace,
            window_s=window_s,
            knowledge=records.knowledge,
            effort=QUICK,
        )
        telemetry.watch(agent, journal)
        parts = Parts(agent, clock, clock.monotonic(), Settings().shown(), telemetry.registry, journal)
        app = _app(parts)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport) as client:
            yield Site(agent, app, client, clock, journal, telemetry, parts)


def page(name: str) -> str:
    """A recorded page, such as `vllm/0.26.0-short-of-seats`."""
    return (PAGES / f"{name}.prom").read_text()


def serve(wire: respx.MockRouter, url: str, *pages: str) -> None:
    """Let a server answer its scrapes with these pages, the last one for ever; it tells nothing else."""
    rest = list(pages)

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=rest.pop(0) if len(rest) > 1 else rest[0])

    wire.get(f"{url}/metrics").mock(side_effect=answer)
    wire.get(url__startswith=url).respond(404)


@dataclass(frozen=True)
class Recording:
    """A recorded server under load."""

    folder: Path

    @property
    def meta(self) -> dict[str, Any]:
        """What `meta.json` tells."""
        told: dict[str, Any] = json.loads((self.folder / "meta.json").read_text())
        return told

    @property
    def pages(self) -> list[str]:
        """Its pages in order."""
        return [path.read_text() for path in sorted(self.folder.glob("*.prom"))]

    async def play(self, at: Site, instance: str, url: str, *, flags: list[str] | None = None) -> httpx.Response:
        """Collect it page by page, as far apart as it was recorded; the last answer."""
        times = self.meta["scrape_times"]
        for before, now in zip([times[0], *times], times, strict=False):
            await at.clock.sleep(now - before)
            body = {"instance_id": instance, "endpoint": url, "flags": flags}
            answer = await at.post(f"/collect/{self.meta['engine']}", body)
            assert answer.status_code == 200, answer.text
        return answer


SHORT_OF_CACHE = Recording(FIXTURES / "vllm-0.26.0-h200" / "kv_starved")
SMALL_STEPS = Recording(FIXTURES / "vllm-0.26.0-h200" / "rag_bt512")


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and kind of an answer that must be a problem document."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = answer.json()
    assert told["status"] == answer.status_code
    assert told["title"]
    assert told["detail"]
    return answer.status_code, told["type"].removeprefix("urn:perfagent:problem:")
