"""Where the real parts are put together: one agent with its store, its scraper, its actuators and its API."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from perfagent.actuators.process import ProcessActuator, Records, Supervisor
from perfagent.api import create_app
from perfagent.clock import SharedClock, SystemClock
from perfagent.collectors.fleet import Fleet
from perfagent.collectors.http import Bounds, HttpScraper
from perfagent.collectors.prompts import prompts_in
from perfagent.collectors.schedule import Cadence
from perfagent.domain.errors import Conflict
from perfagent.emulator.actuator import EmulatedActuator
from perfagent.loop import Agent
from perfagent.ports import Actuator, Clock
from perfagent.services_file import Declared, read_services
from perfagent.serving import address, listen, serving
from perfagent.settings import Settings
from perfagent.store.database import open_database
from perfagent.store.history import SqlHistory
from perfagent.store.journal import SqlJournal
from perfagent.store.knowledge import SqlKnowledge
from perfagent.store.lease import SqlLease
from perfagent.store.services import SqlServices
from perfagent.telemetry.events import ObservedJournal
from perfagent.telemetry.metrics import Telemetry
from perfagent.telemetry.mlflow_sink import MlflowSink
from perfagent.workflows.leadership import Leadership
from perfagent.workflows.ledger import Entry
from perfagent.workflows.model import Pace

DATABASE = "perfagent.db"
PROCESSES = "processes"
"""Folder of the engines that the agent runs: what is wanted of each, and what it says."""
COPIED_WITHIN_S = 5.0
"""How long the agent's end waits for the last outcomes to be in MLflow; the next start writes what is not."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class App:
    """An agent and the API that serves it."""

    agent: Agent
    api: FastAPI
    journal: ObservedJournal


@asynccontextmanager
async def assembled(
    settings: Settings, *, store: Path | str | None, clock: Clock | None = None, pace: Pace | None = None
) -> AsyncIterator[App]:
    """An agent on the SQLite database in a folder, on the PostgreSQL of a URL, or (None) in memory, until the block is
    left.

    Agents on one PostgreSQL go by its clock, so that a deadline is the same for all; those on one SQLite file have the
    same machine's. A virtual `clock` takes its place; uptime, durations and leases are told in real time even then.
    """
    real = SystemClock()
    bounds = Bounds(total_s=settings.scrape_timeout_s, page_bytes=settings.scrape_max_bytes)
    telemetry = Telemetry(real)
    declared = read_services(settings.services) if settings.services is not None else Declared()
    with open_database(store / DATABASE if isinstance(store, Path) else store) as database:
        lead = Leadership(SqlLease(database, _this_process()), real, settings.lease_s)
        lead.renew()
        clock = clock or (SharedClock(real, lambda: lead.offset_s) if isinstance(store, str) else real)
        key = None if settings.api_key is None else settings.api_key.get_secret_value()
        async with HttpScraper(clock, bounds, key) as plain, httpx.AsyncClient(trust_env=False) as client:
            scraper = telemetry.measured(plain)
            journal = ObservedJournal(SqlJournal(database))
            actuators: dict[str, Actuator] = {"emulated": EmulatedActuator(client)}
            records = Records(settings.data / PROCESSES)
            if declared.engines:
                actuators["process"] = ProcessActuator(declared.engines, records, client, real)
            agent = Agent(
                clock=clock,
                scraper=scraper,
                prober=plain,
                collector=Fleet(scraper, clock, Cadence(settings.scrape_interval_s)),
                history=SqlHistory(database),
                services=SqlServices(database),
                journal=journal,
                lead=lead,
                knowledge=SqlKnowledge(database),
                actuators=actuators,
                pace=pace,
                scrape_s=settings.scrape_interval_s,
                window_s=settings.window_s,
                prompts=() if settings.prompts is None else prompts_in(settings.prompts),
            )
            telemetry.watch(agent, journal)
            api = create_app(agent, clock=real, settings=settings.shown(), registry=telemetry.registry, feed=journal)
            _register(agent, declared)
            supervisor = Supervisor(declared.engines, records, client, plain, real)
            async with (
                _copied(settings.mlflow_uri, agent, lead, journal),
                _beside(supervisor.run(lambda: lead.token is not None)),
            ):
                yield App(agent, api, journal)


def _register(agent: Agent, declared: Declared) -> None:
    """What the services file says holds from the agent's start on; of a service in the middle of a rollout, from the
    next one on."""
    for service in declared.services:
        try:
            agent.register(service)
        except Conflict as busy:
            _LOG.warning("%s stays as it was registered: %s", service.id, busy)


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Work that goes on until the block is left; what it started stays."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _copied(
    uri: SecretStr | None, agent: Agent, lead: Leadership, journal: ObservedJournal
) -> AsyncIterator[None]:
    """What came of rollouts goes to MLflow too, where that is asked for, until the block is left.

    Of agents on one store the one that acts copies: two at once would write the same run twice.
    """
    if uri is None:
        yield
        return
    sink = MlflowSink(uri.get_secret_value())

    def outcomes() -> Sequence[Entry]:
        return agent.outcomes() if lead.token is not None else ()

    copying = asyncio.create_task(sink.follow(journal, outcomes))
    try:
        yield
    finally:
        copying.cancel()
        sink.put(outcomes())
        await asyncio.to_thread(sink.close, COPIED_WITHIN_S)


def _this_process() -> str:
    """A name that people can follow to the process, and that no other has, nor this one after a restart."""
    return f"{socket.gethostname()}:{os.getpid()}:{token_hex(3)}"


@asynccontextmanager
async def running(app: App, host: str, port: int) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """The agent's loop and its API, until the block is left: the base address, and the loop to watch for its failure.

    Raises `InvalidInput` where the address cannot be had.
    """
    stop = asyncio.Event()
    one = listen(host, port)
    loop = asyncio.create_task(app.agent.run(stop))
    try:
        async with serving(app.api, one):
            yield address(one), loop
            app.journal.close()
    finally:
        stop.set()
        await loop
