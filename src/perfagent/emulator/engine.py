"""One emulated replica: started, drained and restarted like a process under a supervisor.

    STARTING ──ready──▶ SERVING ──apply──▶ DRAINING ──empty, or out of time──▶ STARTING
        │ does not start     └──crash──▶ STARTING or FAILED
        └──▶ FAILED ──apply──▶ STARTING

A restart is a new process: counters begin at zero, caches are empty, its start time is new. What clients saw stays.
Times are seconds of the fleet; `epoch_s` is the unix time of its beginning.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from perfagent.domain.knob import KnobValue, LaunchConfig
from perfagent.emulator.answers import Errors, errors
from perfagent.emulator.clients import ClientLog
from perfagent.emulator.process import Process, Refusal
from perfagent.emulator.setup import Machine, Setup, StartFailed, prepare
from perfagent.twin import Request
from perfagent.twin.data_types import DataTypes


class State(StrEnum):
    """What a replica is doing."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long takes what surrounds serving, in seconds.

    Of the order that logs of 8B models on local disks show; large models take minutes.
    """

    startup_s: float = 45.0
    compile_s: float = 30.0
    """On top, where the engine compiles for batch limits that it has not run with before."""
    exit_s: float = 15.0
    """From the start to the exit of a process that fails."""
    drain_s: float = 30.0
    """How long running requests may take to finish before a restart."""


NOT_READY = Refusal(503, "the emulated server is not up")


class EmulatedEngine:
    """One replica over its restarts. It begins serving at once, or failed when its configuration cannot start."""

    def __init__(
        self, name: str, machine: Machine, launch: LaunchConfig, *, timing: Timing | None = None, epoch_s: float = 0.0
    ) -> None:
        self.name = name
        self.machine = machine
        self.launch = launch
        """The configuration wanted, which runs unless the state says otherwise."""
        self.state = State.FAILED
        self.trouble: str | None = None
        """The last words of a process that did not start or died."""
        self.restarts = 0
        self.clients = ClientLog()
        self.process: Process | None = None
        """The one that serves or drains."""
        self._timing = timing or Timing()
        self._epoch_s = epoch_s
        self._started_s = 0.0
        self._until_s: float | None = None
        self._setup: Setup | None = None
        self._compiled: set[tuple[KnobValue | None, ...]] = set()
        self._failing_starts = 0
        self._slowness = 1.0
        self._bad_answers = 0.0
        try:
            self._setup = prepare(machine, launch)
        except StartFailed as failure:
            self.trouble = str(failure)
        else:
            self._compiled.add(self._compile_key(self._setup))
            self._serve(0.0)

    @property
    def next_change_s(self) -> float | None:
        """When the state changes by itself at the latest; None when it does not."""
        return self._until_s

    @property
    def astray(self) -> Errors:
        """How far its answers stray from those with 16 bits."""
        types = DataTypes() if self.process is None else self.process.setup.types
        usual = errors(types)
        return usual if types == DataTypes() else replace(usual, others=max(usual.others, self._bad_answers))

    @property
    def metrics_served(self) -> bool:
        """Whether the process serves metrics: some engines want a flag for that."""
        flag = self.machine.habits.metrics_flag
        return flag is None or (self.process is not None and flag in self.process.launch.flags)

    def apply(self, launch: LaunchConfig, at_s: float) -> None:
        """Run with this configuration; nothing happens when the replica already does or is about to."""
        if launch == self.launch and self.state is not State.FAILED:
            return
        self.launch = launch
        match self.state:
            case State.SERVING:
                self.state, self._until_s = State.DRAINING, at_s + self._timing.drain_s
            case State.STARTING | State.FAILED:
                self._start(at_s)
            case State.DRAINING:
                pass

    def offer(self, request: Request, patience_s: float | None = None) -> Refusal | None:
        """A client's request; what is turned away is counted."""
        if self.process is None or self.state is not State.SERVING:
            self.clients.refused(request.arrival_s)
            return NOT_READY
        return self.process.offer(request, patience_s)

    def advance(self, to_s: float) -> None:
        """Lets time pass, with every change of state that is due by then."""
        while True:
            if self.state is State.DRAINING:
                self.drain(to_s)
            if self._until_s is None or self._until_s > to_s:
                break
            self._change(self._until_s)
        if self.process is not None:
            self.process.advance(to_s)

    def drain(self, to_s: float) -> None:
        """While draining: lets time pass until the replica is empty, and then goes down; at most until `to_s`."""
        if self.state is not State.DRAINING or self.process is None or self._until_s is None:
            return
        empty_s = self.process.drain(min(to_s, self._until_s))
        if empty_s is not None:
            self._start(empty_s)

    def crash(self, at_s: float, *, comes_back: bool) -> None:
        """The process dies at once."""
        if self.process is None:
            return
        self.trouble = "emulated fault: the process was killed"
        if comes_back:
            self._start(at_s)
        else:
            self._stop(at_s)
            self.state, self._until_s = State.FAILED, None

    def fail_starts(self, times: int) -> None:
        """The next starts end in an exit, whatever the configuration."""
        self._failing_starts += times

    def slow_down(self, factor: float) -> None:
        """Steps take `factor` times as long from now on, over restarts too."""
        self._slowness = factor
        if self.process is not None:
            self.process.slow_down(factor)

    def answer_badly(self, share: float) -> None:
        """Wherever it computes with fewer than 16 bits, at this share of the places another token comes."""
        self._bad_answers = share

    def _change(self, at_s: float) -> None:
        match self.state:
            case State.DRAINING:
                self._start(at_s)
            case State.STARTING if self._setup is None:
                self.state, self._until_s = State.FAILED, None
            case State.STARTING:
                self._serve(at_s)
            case State.SERVING | State.FAILED:
                self._until_s = None

    def _start(self, at_s: float) -> None:
        self._stop(at_s)
        self.state, self._started_s, self._setup = State.STARTING, at_s, None
        self.restarts += 1
        try:
            setup = prepare(self.machine, self.launch)
            if self._failing_starts:
                self._failing_starts -= 1
                raise StartFailed("emulated fault: the process exits at start")
        except StartFailed as failure:
            self.trouble = str(failure)
            self._until_s = at_s + self._timing.exit_s
            return
        key = self._compile_key(setup)
        compile_s = 0.0 if key in self._compiled else self._timing.compile_s
        self._compiled.add(key)
        self._setup, self._until_s = setup, at_s + self._timing.startup_s + compile_s

    def _serve(self, at_s: float) -> None:
        if self._setup is None:
            raise AssertionError("a process serves with a setup")
        self.process = Process(
            self.machine,
            self.launch,
            self._setup,
            self.clients,
            at_s=at_s,
            started_at_s=self._epoch_s + self._started_s,
        )
        self.process.slow_down(self._slowness)
        self.state, self._until_s, self.trouble = State.SERVING, None, None

    def _stop(self, at_s: float) -> None:
        if self.process is not None:
            self.process.advance(at_s)
            self.process.end(at_s)
            self.process = None

    def _compile_key(self, setup: Setup) -> tuple[KnobValue | None, ...]:
        return tuple(setup.values.get(knob) for knob in sorted(self.machine.habits.recompiles))
