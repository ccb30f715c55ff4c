"""The port for changes, for engines that are processes of this machine: it writes down what is wanted.

A `Supervisor` brings it about. So a change that was asked for once happens, whichever agent is there to make it.
"""

from collections.abc import Iterable
from dataclasses import replace

import httpx

from perfagent import engines
from perfagent.actuators.process import proc
from perfagent.actuators.process.engine import Engine
from perfagent.actuators.process.record import Life, Record, Records
from perfagent.actuators.process.server import answers
from perfagent.actuators.process.supervisor import CRASH_LOOP, CRASH_LOOP_S, lately
from perfagent.domain.errors import ActuatorFailed
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.snapshot import Target
from perfagent.ports import Clock


class ProcessActuator:
    """The `Actuator` for engines of the services file."""

    def __init__(self, described: Iterable[Engine], records: Records, client: httpx.AsyncClient, clock: Clock) -> None:
        self._engines = {engine.target.url: engine for engine in described}
        self._records = records
        self._client = client
        self._clock = clock

    async def read(self, target: Target) -> LaunchConfig:
        """How the replica runs, as its process's own command line and environment say; on the way to something else,
        how it will. Raises `ActuatorFailed` for a replica that is not in the services file."""
        engine = self._engine(target)
        record = self._record(engine)
        life = record.life
        settled = life is not None and not life.stopping and life.launch == record.wanted
        return _seen(engine, life).launch if life is not None and settled else record.wanted

    async def apply(self, target: Target, config: LaunchConfig) -> None:
        """Have it run with this configuration. Raises `ActuatorFailed`, also for a variable that is no knob's."""
        engine = self._engine(target)
        unknown = sorted({name for name, _ in config.env} - engines.variables(engine.engine))
        if unknown:
            raise ActuatorFailed(f"{target.id}: {unknown[0]} is no setting of {engine.engine}")
        record = self._record(engine)
        life = None if record.life is None else _seen(engine, record.life)
        if record.wanted != config or (life is not None and life != record.life):
            self._records.save(engine.name, replace(record, life=life).changed(config))

    async def ready(self, target: Target) -> bool:
        """Whether it serves with what is wanted. Raises `ActuatorFailed` when it ended before it had ever answered, or
        keeps ending by itself."""
        engine = self._engine(target)
        record = self._record(engine)
        if record.failed_to_start or (record.failure and not engine.supervise):
            raise ActuatorFailed(f"{target.id} {record.failure}")
        died = len(lately(record.deaths, self._clock.now()))
        if died >= CRASH_LOOP:
            within = f"{died} times within {CRASH_LOOP_S / 60:.0f} minutes"
            raise ActuatorFailed(f"{target.id} ended by itself {within}: it {record.failure or 'answers again'}")
        life = record.life
        if life is None or life.stopping or life.launch != record.wanted or not proc.runs(life.process):
            return False
        return await answers(self._client, engine)

    def _engine(self, target: Target) -> Engine:
        if target.url not in self._engines:
            raise ActuatorFailed(f"{target.url} is no process of the services file")
        return self._engines[target.url]

    def _record(self, engine: Engine) -> Record:
        return self._records.load(engine.name) or Record(engine.launch)


def _seen(engine: Engine, life: Life) -> Life:
    """The same, corrected by what its process says itself, where it runs and says so."""
    if not proc.runs(life.process):
        return life
    launch = engine.launch_of(proc.argv(life.process), proc.environment(life.process))
    return life if launch is None else replace(life, launch=launch)
