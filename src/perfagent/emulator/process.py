"""One life of an emulated server: from its start to its exit, the twin with an engine's metrics around it."""

from collections import deque
from dataclasses import dataclass

from perfagent.domain.knob import LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.emulator.clients import ClientLog
from perfagent.emulator.meters import Meters
from perfagent.emulator.page import Page
from perfagent.emulator.setup import Machine, Setup
from perfagent.engines import exposition
from perfagent.engines.habits import Facts
from perfagent.twin import Pace, Replica, Request


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the server turned away, as its client sees it."""

    status: int
    reason: str


class Process:
    """A serving process; `at_s` is the fleet's time, `started_at_s` the unix time that its page tells.

    Its steps take what the setup says, or what `pace` says instead.
    """

    def __init__(
        self,
        machine: Machine,
        launch: LaunchConfig,
        setup: Setup,
        clients: ClientLog,
        *,
        at_s: float,
        started_at_s: float,
        pace: Pace | None = None,
    ) -> None:
        writing = exposition(machine.engine, machine.release, max_model_len=setup.max_len)
        histograms = [(family.metric, family.edges) for family in writing.families if family.type == "histogram"]
        self.launch = launch
        self.setup = setup
        self.alive = True
        self.meters = Meters(machine.habits, histograms, clients)
        self._machine = machine
        self._clients = clients
        self._pace = pace or setup.step_time
        self._replica = Replica(setup.rules, self._pace, self.meters, at_s)
        self._impatient: deque[tuple[float, str]] = deque()
        info = machine.habits.info(self.facts())
        self._page = Page(writing, self.meters, model=machine.model.name, info=info, started_at_s=started_at_s)

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return self._replica.running

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._replica.waiting

    @property
    def kv_usage(self) -> float:
        """Share of the KV cache in use, 0–1."""
        return self._replica.kv_usage

    def facts(self) -> Facts:
        """What the configuration endpoints tell."""
        rules, machine = self.setup.rules, self._machine
        blocks = rules.kv_blocks + machine.habits.spare_blocks
        return Facts(
            release=machine.release,
            model=machine.model.name,
            host=machine.host,
            values=self.setup.values,
            kv_blocks=blocks,
            kv_tokens=blocks * rules.block_size,
            launch=self.launch,
            running=self.running,
            waiting=self.waiting,
            kv_usage=self.kv_usage,
        )

    def page(self) -> str:
        """The metrics page now."""
        return self._page.render(
            {
                Metric.RUNNING: self.running,
                Metric.WAITING: self.waiting,
                Metric.WAITING_CAPACITY: self.waiting,
                Metric.WAITING_DEFERRED: 0.0,
                Metric.KV_USAGE: self.kv_usage,
                Metric.KV_CAPACITY: self._replica.kv_capacity_tokens,
                Metric.KV_RESERVED: self._replica.kv_reserved_tokens,
            }
        )

    def offer(self, request: Request, patience_s: float | None = None, *, front_end_s: float = 0.0) -> Refusal | None:
        """Takes a request in, or says why not. A client with patience goes away when nothing came by then.

        It was sent `front_end_s` before its arrival at the scheduler.
        """
        habits, limit = self._machine.habits, self.setup.request_limit
        if request.prompt_tokens + request.output_tokens > self.setup.max_len:
            self.meters.refused(Metric.FAILED)
            reason = f"this server's longest request is {self.setup.max_len} tokens"
            return self._refuse(request, Refusal(habits.invalid_status, reason))
        if limit is not None:
            self.advance(request.arrival_s)
            if len(self.meters.open) >= limit:
                self.meters.refused(Metric.REJECTED)
                return self._refuse(request, Refusal(habits.refusal_status, "too many requests are waiting"))
        self._replica.submit(request)
        self.meters.accepted(request, front_end_s)
        if patience_s is not None:
            self._impatient.append((request.arrival_s + patience_s, request.id))
        return None

    def generated(self, request_id: str) -> int | None:
        """Tokens delivered so far; None when the request is unknown, finished or gone."""
        return self._replica.generated(request_id)

    def cancel(self, request_id: str) -> bool:
        """The client went away; False when there was nothing left to cancel."""
        if not self._replica.cancel(request_id):
            return False
        self.meters.aborted(request_id)
        return True

    def advance(self, to_s: float) -> None:
        """Lets time pass, for engine and clients."""
        impatient, replica = self._impatient, self._replica
        while impatient and impatient[0][0] <= to_s:
            deadline_s, request_id = impatient.popleft()
            if replica.generated(request_id) != 0:
                continue
            replica.advance(deadline_s)
            if replica.generated(request_id) == 0:
                self.cancel(request_id)
                self._clients.gave_up(deadline_s)
        replica.advance(to_s)

    def drain(self, to_s: float) -> float | None:
        """Lets time pass until nothing is left to do, at most until `to_s`; when that was, or None."""
        while not self._replica.idle:
            event_s = self._replica.next_event_s
            if event_s is None or event_s >= to_s:
                self.advance(to_s)
                break
            self.advance(min(to_s, event_s + 1e-6))
        return self._replica.now_s if self._replica.idle else None

    def slow_down(self, factor: float) -> None:
        """From the next step on, steps take `factor` times what they should."""
        self._replica.step_time = self._pace if factor == 1 else self._pace.scaled(factor)

    def end(self, at_s: float) -> None:
        """The process exits; whoever is still being served is cut off."""
        self.alive = False
        if self.meters.open:
            self._clients.lost(at_s, len(self.meters.open))

    def _refuse(self, request: Request, refusal: Refusal) -> Refusal:
        self._clients.refused(request.arrival_s)
        return refusal
