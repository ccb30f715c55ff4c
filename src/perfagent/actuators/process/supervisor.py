"""Brings about what is wanted of each replica, a step at a time, and starts again what died.

Every step follows from the replica's record and from what the machine says of its process, and the record is written
before the step is made. So it may be cut short anywhere, and the next agent goes on.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import httpx

from perfagent.actuators.process import log, proc
from perfagent.actuators.process.engine import Engine
from perfagent.actuators.process.record import Life, Record, Records
from perfagent.actuators.process.server import answers, idle, port_is_free
from perfagent.domain.errors import AgentError
from perfagent.ports import Clock, Scraper

LOOK_S = 0.5
"""How often each replica is looked at."""
QUIET_LOOKS = 3
"""Looks in a row without a request before a server counts as drained: its gauges are as old as its last step. An
assumption: steps take less than a second and a half together."""
PORT_LOOKS = 4
"""Looks at a port before it counts as somebody else's: sockets of a process that was killed take a moment to close."""
CRASH_LOOP = 3
CRASH_LOOP_S = 600.0
"""A replica that ended by itself so often within so long will not become ready by itself. Ten minutes are what
Kubernetes takes for a container's recovery; that it is three times is an assumption."""
BACKOFF_S = 10.0
LONGEST_BACKOFF_S = 300.0
"""Started again at once, then after 10, 20, 40 … up to 300 s: as Kubernetes does with containers (CrashLoopBackOff)."""

_LOG = logging.getLogger(__name__)


def lately(deaths: Sequence[float], now_s: float) -> tuple[float, ...]:
    """Those that still count."""
    return tuple(at_s for at_s in deaths if now_s - at_s < CRASH_LOOP_S)


class Supervisor:
    """Looks after the engines of the services file while this agent acts."""

    def __init__(
        self,
        described: Sequence[Engine],
        records: Records,
        client: httpx.AsyncClient,
        scraper: Scraper,
        clock: Clock,
        *,
        look_s: float = LOOK_S,
    ) -> None:
        self._engines = described
        self._records = records
        self._client = client
        self._scraper = scraper
        self._clock = clock
        self._look_s = look_s

    async def run(self, acting: Callable[[], bool] = lambda: True) -> None:
        """For ever, all replicas at once; as long as another agent acts, nothing is touched."""
        await asyncio.gather(*(self._keep(engine, acting) for engine in self._engines))

    async def end(self) -> None:
        """Drain and stop all of them, for good as far as nobody runs them again. Raises `ActuatorFailed`."""
        await asyncio.gather(*(self._end(engine) for engine in self._engines))

    async def _keep(self, engine: Engine, acting: Callable[[], bool]) -> None:
        trouble = ""
        while True:
            try:
                if acting():
                    await self.step(engine, acting)
                trouble = ""
            except Exception as error:
                told = str(error) or type(error).__name__
                if told != trouble:
                    _LOG.exception("%s cannot be looked after", engine.target.id)
                trouble = told
            await self._clock.sleep(self._look_s)

    async def step(self, engine: Engine, acting: Callable[[], bool] = lambda: True) -> None:
        """Whatever is due for a replica now. Raises `ActuatorFailed` where its record cannot be read or written."""
        log.bound(self._records.log(engine.name))
        record = self._record(engine)
        life = record.life
        if life is None:
            await self._start_if_due(engine, record)
        elif not proc.runs(life.process):
            self._note_end(engine, record, life)
        elif life.stopping or life.launch != record.wanted:
            await self._stop(engine, life, lambda now: acting() and now.wanted != life.launch)
        elif not life.served and await answers(self._client, engine):
            now = self._record(engine)
            if now.life == life:
                self._records.save(engine.name, now.answered())
                _LOG.info("%s answers (process %d)", engine.target.id, life.process.pid)

    async def _start_if_due(self, engine: Engine, record: Record) -> None:
        deaths = lately(record.deaths, self._clock.now())
        wait_s = min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0 ** (len(deaths) - 2)) if len(deaths) > 1 else 0.0
        if deaths and (not engine.supervise or self._clock.now() < deaths[-1] + wait_s):
            return
        for _ in range(PORT_LOOKS):
            if port_is_free(engine.port):
                break
            await self._clock.sleep(self._look_s)
        else:
            reason = f"cannot listen: port {engine.port} is taken by a process that the agent did not start"
            self._fail(engine, self._record(engine), reason, started=False)
            return
        self._start(engine, self._record(engine))

    def _start(self, engine: Engine, record: Record) -> None:
        path = self._records.log(engine.name)
        try:
            log.fresh(path)
            waiting = proc.launch(path)
        except OSError as error:
            self._fail(engine, record, f"cannot be started: {error.strerror}", started=False)
            return
        begun = replace(record, life=Life(waiting.process, record.wanted))
        try:
            self._records.save(engine.name, begun)
        except AgentError:
            waiting.drop()
            raise
        waiting.go(engine.argv(record.wanted), engine.environment(record.wanted), engine.folder, engine.cores)
        self._records.save(engine.name, begun.ordered())
        _LOG.info("%s is started (process %d)", engine.target.id, waiting.process.pid)

    def _note_end(self, engine: Engine, record: Record, life: Life) -> None:
        code = proc.exit_code(life.process)
        proc.kill_group(life.process)
        if life.stopping or not (life.ordered or life.served) or life.launch != record.wanted:
            self._records.save(engine.name, replace(record, life=None))
            return
        how = "ended" if code is None else f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
        when = "by itself" if life.served else "before it had ever answered"
        said = log.last_words(self._records.log(engine.name), engine.secrets)
        reason = f"{how} {when}" + (f"; its log ends with:\n{said}" if said else "; its log is empty")
        self._fail(engine, replace(record, life=None), reason, started=life.served)

    def _fail(self, engine: Engine, record: Record, reason: str, *, started: bool) -> None:
        now_s = self._clock.now()
        deaths = (*lately(record.deaths, now_s), now_s)[-CRASH_LOOP * 4 :]
        failed = replace(record, deaths=deaths, failure=reason, failed_to_start=not started)
        self._records.save(engine.name, failed)
        _LOG.warning("%s %s", engine.target.id, reason)

    async def _stop(self, engine: Engine, life: Life, still_due: Callable[[Record], bool]) -> None:
        """Drain it, ask it to end, and end it with everything it started where it does not in time."""
        if life.served and not life.stopping and not await self._drained(engine, life, still_due):
            return
        record = self._record(engine)
        if record.life is None or record.life.process != life.process:
            return
        self._records.save(engine.name, record.stopping())
        proc.terminate(life.process)
        end_s = self._clock.monotonic() + engine.grace_s
        while proc.runs(life.process) and self._clock.monotonic() < end_s:
            await self._clock.sleep(self._look_s)
        if proc.runs(life.process):
            _LOG.warning("%s did not end within %.0f s and is killed", engine.target.id, engine.grace_s)
            proc.kill_group(life.process)

    async def _drained(self, engine: Engine, life: Life, still_due: Callable[[Record], bool]) -> bool:
        """Whether to go on: it has nothing left to do or its time is up, and it still shall be stopped."""
        end_s, quiet = self._clock.monotonic() + engine.drain_s, 0
        while quiet < QUIET_LOOKS and self._clock.monotonic() < end_s:
            quiet = quiet + 1 if await idle(self._scraper, engine) else 0
            await self._clock.sleep(self._look_s)
            if not proc.runs(life.process) or not still_due(self._record(engine)):
                return False
        if quiet < QUIET_LOOKS:
            _LOG.warning("%s still has requests after %.0f s", engine.target.id, engine.drain_s)
        return True

    async def _end(self, engine: Engine) -> None:
        record = self._records.load(engine.name)
        life = None if record is None else record.life
        if life is None:
            return
        if proc.runs(life.process):
            await self._stop(engine, life, lambda _: True)
        while proc.runs(life.process):
            await self._clock.sleep(self._look_s)
        record = self._record(engine)
        proc.exit_code(life.process)
        proc.kill_group(life.process)
        self._records.save(engine.name, replace(record, life=None))

    def _record(self, engine: Engine) -> Record:
        return self._records.load(engine.name) or Record(engine.launch)
