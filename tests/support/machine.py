"""Engines as processes of this machine, and an agent's part that looks after them; all of it ends with the test."""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from perfagent.actuators.process import Engine, ProcessActuator, Records, Supervisor, engine_process, proc
from perfagent.actuators.process.record import Record
from perfagent.clock import SystemClock
from perfagent.collectors.http import HttpScraper
from perfagent.domain.service import replica
from support import fake_engine

FAKE = (sys.executable, "-I", "-S", fake_engine.__file__, "--port", "{port}")
LOOK_S = 0.02
PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def fake(*flags: str, port: int | None = None, env: dict[str, str] | None = None, **more: object) -> Engine:
    """A replica of the service `chat` whose program is the fake engine."""
    target = replica("chat", f"http://127.0.0.1:{port or free_port()}")
    return engine_process(target, "vllm", FAKE, flags, env or {}, folder=Path(fake_engine.__file__).parent, **more)  # type: ignore[arg-type]


@dataclass
class Here:
    """What an agent does about its engines; `restarted` is the next agent."""

    engines: tuple[Engine, ...]
    records: Records
    actuator: ProcessActuator
    supervisor: Supervisor
    _running: list[asyncio.Task[None]] = field(default_factory=list)

    def supervise(self) -> None:
        self._running.append(asyncio.create_task(self.supervisor.run()))

    async def rest(self) -> None:
        """The agent is gone; its engines are not."""
        for task in self._running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._running.clear()

    def record(self, engine: Engine) -> Record:
        return self.records.load(engine.name) or Record(engine.launch)

    def pid(self, engine: Engine) -> int:
        life = self.record(engine).life
        assert life is not None
        return life.process.pid

    async def until_ready(self, engine: Engine) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not await self.actuator.ready(engine.target):
            assert time.monotonic() < end_s, self.records.log(engine.name).read_text()
            await asyncio.sleep(LOOK_S)


async def until(happened: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end_s, "it did not happen in time"
        await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def here(folder: Path, *engines: Engine, supervised: bool = True) -> AsyncIterator[Here]:
    """An agent's part for these engines; at the end every process of theirs is killed that still runs."""
    clock, records = SystemClock(), Records(folder / "processes")
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        scraper = await stack.enter_async_context(HttpScraper(clock))
        found = Here(
            engines,
            records,
            ProcessActuator(engines, records, client, clock),
            Supervisor(engines, records, client, scraper, clock, look_s=LOOK_S),
        )
        if supervised:
            found.supervise()
        try:
            yield found
        finally:
            await found.rest()
            for engine in engines:
                record = records.load(engine.name)
                if record is not None and record.life is not None:
                    proc.kill_group(record.life.process)
                    proc.exit_code(record.life.process)
