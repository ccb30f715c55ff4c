"""Emulated replicas behind a router, under a seeded workload, on a time given from outside.

Between two changes of anybody's state the routing is fixed, so a stretch of arrivals is dealt out first and every
replica then runs through it on its own. Times in the interface are unix seconds; `start_s` is the fleet's beginning, to
which workload and faults are relative.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf

import numpy as np

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.emulator.clients import Seen, seen
from perfagent.emulator.engine import EmulatedEngine, State, Timing
from perfagent.emulator.faults import BadAnswers, Crash, CrashAtStart, Fault, LostScrapes, SlowReplica
from perfagent.emulator.process import Process, Refusal
from perfagent.emulator.setup import Machine
from perfagent.twin import Request, Workload


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request that somebody outside follows."""

    process: Process
    request: Request

    @property
    def complete(self) -> bool:
        """Served to its end, unless it was cancelled."""
        return self.request.id not in self.process.meters.open

    @property
    def open(self) -> bool:
        """Still being served; a request whose process ended is not."""
        return self.process.alive and not self.complete

    @property
    def tokens(self) -> int:
        """Output tokens that came out so far."""
        return self.request.output_tokens if self.complete else self.process.generated(self.request.id) or 0


class Fleet:
    """`replicas` of one machine, launched alike; the same seed and workload give the same figures to the last digit.

    With `patience_s`, a client of the workload goes away when nothing came by then.
    """

    def __init__(
        self,
        machine: Machine,
        launch: LaunchConfig,
        *,
        replicas: int = 1,
        workload: Workload | None = None,
        patience_s: float | None = None,
        faults: Sequence[Fault] = (),
        timing: Timing | None = None,
        start_s: float = 0.0,
    ) -> None:
        if replicas < 1:
            raise InvalidInput("a fleet has at least one replica")
        self.machine = machine
        self.replicas = tuple(
            EmulatedEngine(f"emulated-{number}", machine, launch, timing=timing, epoch_s=start_s)
            for number in range(replicas)
        )
        self._start_s = start_s
        self._now_s = 0.0
        self._patience_s = patience_s
        self._arrivals: Iterator[Request] = iter(()) if workload is None else workload.requests()
        self._next = next(self._arrivals, None)
        self._seed = 0 if workload is None else workload.seed
        self._turn = 0
        self._numbers = count()
        self._scrapes = [0] * replicas
        self._lost_scrapes = [fault for fault in faults if isinstance(fault, LostScrapes)]
        self._events = sorted(self._planned(faults), key=lambda event: event[0])
        self._happen()

    @property
    def now_s(self) -> float:
        """The time advanced to."""
        return self._start_s + self._now_s

    def advance(self, to_s: float) -> None:
        """Lets time pass; nothing happens when it is past already."""
        end_s = to_s - self._start_s
        while self._now_s < end_s:
            stretch_s = self._stretch(end_s)
            self._route(stretch_s)
            for replica in self.replicas:
                replica.advance(stretch_s)
            self._now_s = stretch_s
            self._happen()

    def apply(self, replica: int, launch: LaunchConfig) -> None:
        """Restarts a replica with this configuration: no new requests, drain, down, serving. Twice is once."""
        self.replicas[replica].apply(launch, self._now_s)

    def submit(self, replica: int, prompt_tokens: int, output_tokens: int) -> Ticket | Refusal:
        """A request from outside, to this replica, now."""
        engine = self.replicas[replica]
        request = Request(f"outside-{next(self._numbers)}", self._now_s, prompt_tokens, output_tokens)
        refusal = engine.offer(request)
        if refusal is not None or engine.process is None:
            return refusal or Refusal(503, "")
        return Ticket(engine.process, request)

    def cancel(self, ticket: Ticket) -> None:
        """Whoever followed the request went away; nothing happens when it is complete."""
        if ticket.open:
            ticket.process.cancel(ticket.request.id)

    def scrape(self, replica: int) -> str | None:
        """The replica's metrics page now; None where nobody answers: it is not up, or the scrape got lost."""
        engine = self.replicas[replica]
        self._scrapes[replica] += 1
        if engine.process is None or self._scrape_lost(replica):
            return None
        return engine.process.page()

    def seen(self, start_s: float, end_s: float, replicas: Sequence[int] | None = None) -> Seen:
        """What clients of these replicas (all, for None) saw in the whole seconds of [start_s, end_s)."""
        chosen = self.replicas if replicas is None else [self.replicas[index] for index in replicas]
        return seen((replica.clients for replica in chosen), start_s - self._start_s, end_s - self._start_s)

    def _stretch(self, end_s: float) -> float:
        """How far routing stays as it is; draining replicas run ahead, because when they are empty is not known."""
        stretch_s = min([end_s, *(at_s for at_s, _ in self._events[:1]), *self._changes()])
        for replica in self.replicas:
            replica.drain(stretch_s)
        return max(self._now_s, min([stretch_s, *self._changes()]))

    def _changes(self) -> list[float]:
        return [replica.next_change_s for replica in self.replicas if replica.next_change_s is not None]

    def _route(self, until_s: float) -> None:
        """Round robin over the replicas that serve: their loads stay comparable, whatever their speed."""
        ready = [replica for replica in self.replicas if replica.state is State.SERVING]
        while self._next is not None and self._next.arrival_s < until_s:
            chosen = ready or self.replicas
            chosen[self._turn % len(chosen)].offer(self._next, self._patience_s)
            self._turn += 1
            self._next = next(self._arrivals, None)

    def _happen(self) -> None:
        """Faults that are due."""
        while self._events and self._events[0][0] <= self._now_s:
            _, happen = self._events.pop(0)
            happen()

    def _planned(self, faults: Sequence[Fault]) -> Iterator[tuple[float, Callable[[], None]]]:
        for fault in faults:
            if not 0 <= fault.replica < len(self.replicas):
                raise InvalidInput(f"a fault names replica {fault.replica} of {len(self.replicas)}")
            yield from _events(self.replicas[fault.replica], fault)

    def _scrape_lost(self, replica: int) -> bool:
        """Drawn from the seed and the number of the scrape, so it does not matter who else was asked in between."""
        share = max(
            (f.share for f in self._lost_scrapes if f.replica == replica and f.from_s <= self._now_s < f.to_s),
            default=0.0,
        )
        return np.random.default_rng([self._seed, replica, self._scrapes[replica]]).random() < share if share else False


def _events(replica: EmulatedEngine, fault: Fault) -> Iterator[tuple[float, Callable[[], None]]]:
    match fault:
        case SlowReplica(factor=factor, from_s=from_s, to_s=to_s):
            yield from_s, lambda: replica.slow_down(factor)
            if to_s < inf:
                yield to_s, lambda: replica.slow_down(1.0)
        case Crash(at_s=at_s, comes_back=comes_back):
            yield at_s, lambda: replica.crash(at_s, comes_back=comes_back)
        case CrashAtStart(times=times, from_s=from_s):
            yield from_s, lambda: replica.fail_starts(times)
        case BadAnswers(share=share):
            yield 0.0, lambda: replica.answer_badly(share)
        case LostScrapes():
            pass
