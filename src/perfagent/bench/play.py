"""Plays a scenario on emulated processes: the pages that whoever diagnoses sees, and what really went on.

The same scenario can be played with one of its limits lifted; arrivals and lengths are the same to the last digit, so
what becomes better is the limit's doing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from statistics import fmean

import numpy as np

from perfagent.bench.scenario import Scenario
from perfagent.emulator.clients import ClientLog, seen
from perfagent.emulator.process import Process, Refusal
from perfagent.emulator.setup import Setup
from perfagent.twin import Request

TICK_S = 0.5
"""How often closed-loop clients look for their answers, and the queue is looked at."""
STARTED_AT_S = 1_700_000_000.0
"""Unix time at which emulated processes start; any will do."""
USUAL_BUDGET = 8192
"""Tokens per step that engines choose by themselves on large GPUs."""
SMALL_BUDGET = 512
"""Tokens per step that keep every stall short."""
PLENTY = 1_000


class Lift(Enum):
    """A limit that is taken away."""

    BATCH = "any number may run"
    KV = "any context fits"
    BUDGET = "steps are as large as usual"
    SETTINGS = "all three"
    HARDWARE = "every step takes a quarter of the time"
    DECODE = "the batch costs a step nothing"
    PROMPTS = "to read a prompt costs a step nothing"
    CACHE = "what prompts have in common is computed once"
    CHUNK = "prompts are read in small pieces, beside decoding"
    SLOWNESS = "all steps take as long as their work"


@dataclass(frozen=True, slots=True)
class Played:
    """What happened between the first scrape and the last."""

    pages: tuple[tuple[str, ...], ...]
    """Of each replica; empty where none were asked for."""
    times: tuple[float, ...]
    """Of the scrapes, in seconds from the first."""
    backlog: float
    """Requests per replica that wait for their first token, in the queue or while their prompt is read; the mean."""
    queued_share: float
    """How often somebody was in the queue."""
    itl_s: float | None
    """Mean gap between two tokens, as clients saw it."""
    ttft_s: float | None
    """Mean time to first token, as clients saw it."""
    stall_s: float | None
    """The gap that a moment of waiting falls into, on average."""
    open: float
    """Requests per replica that run or wait; the mean."""
    refused: int
    """Requests that were turned away."""


def play(scenario: Scenario, lift: Lift | None = None, *, pages: bool = False) -> Played:
    """From the start of the process to the end of the span; pages are kept where asked for."""
    setup = _lifted(scenario.setup, lift)
    logs = [ClientLog() for _ in range(scenario.replicas)]
    processes = [
        Process(scenario.machine, scenario.launch, setup, log, at_s=0.0, started_at_s=STARTED_AT_S) for log in logs
    ]
    slow_from = round((scenario.warm_s + scenario.slow_from_s) / TICK_S) if lift is not Lift.SLOWNESS else -1
    clients = (_OpenLoop if scenario.concurrency is None else _ClosedLoop)(scenario, processes)
    begin, end, apart = (round(s / TICK_S) for s in (scenario.warm_s, _end_s(scenario), scenario.every_s))
    backlog, held, queued = list[int](), list[int](), list[bool]()
    texts, times = list[tuple[str, ...]](), list[float]()
    for tick in range(end + 1):
        now_s = tick * TICK_S
        if tick == slow_from:
            processes[0].slow_down(scenario.slowness)
        clients.send(now_s)
        for process in processes:
            process.advance(now_s)
        if tick < begin:
            continue
        if tick % 2 == 0:
            backlog.append(sum([len(process.meters.unanswered) for process in processes]))
            held.append(sum([len(process.meters.open) for process in processes]))
            queued.append(any(process.waiting for process in processes))
        if pages and (tick - begin) % apart == 0:
            texts.append(tuple(process.page() for process in processes))
            times.append(now_s - scenario.warm_s)
    clients_saw = seen(logs, scenario.warm_s, _end_s(scenario))
    return Played(
        tuple(zip(*texts, strict=True)),
        tuple(times),
        fmean(backlog) / scenario.replicas,
        fmean(queued),
        clients_saw.itl_mean_s,
        clients_saw.ttft_mean_s,
        clients_saw.stall_s,
        fmean(held) / scenario.replicas,
        clients_saw.refused,
    )


def _end_s(scenario: Scenario) -> float:
    return scenario.warm_s + scenario.span_s


class _OpenLoop:
    """Requests come whatever the server does, in turn to every replica."""

    def __init__(self, scenario: Scenario, processes: list[Process]) -> None:
        self._patience_s = scenario.patience_s
        self._processes = processes
        self._requests = _with_too_long(scenario)
        self._next = next(self._requests, None)
        self._turn = 0

    def send(self, until_s: float) -> None:
        """What arrives by then."""
        while self._next is not None and self._next.arrival_s < until_s:
            self._processes[self._turn % len(self._processes)].offer(self._next, self._patience_s)
            self._turn += 1
            self._next = next(self._requests, None)


class _ClosedLoop:
    """So many clients; each sends its next request when it has its answer."""

    def __init__(self, scenario: Scenario, processes: list[Process]) -> None:
        self._scenario, self._process = scenario, processes[0]
        self._rng = np.random.default_rng(scenario.workload.seed)
        self._sent = 0

    def send(self, until_s: float) -> None:
        """One for every client that waits for nothing."""
        work, process = self._scenario.workload, self._process
        process.advance(until_s)
        for _ in range((self._scenario.concurrency or 0) - len(process.meters.open)):
            prompt, output = work.prompt.draw(self._rng), work.output.draw(self._rng)
            self._sent += 1
            if isinstance(process.offer(Request(f"c{self._sent}", until_s, prompt, output)), Refusal):
                return


def _with_too_long(scenario: Scenario) -> Iterator[Request]:
    rng = np.random.default_rng(scenario.workload.seed)
    for request in scenario.workload.requests():
        if scenario.too_long and rng.random() < scenario.too_long:
            yield replace(request, id=f"{request.id}-long", prompt_tokens=scenario.setup.max_len + 1)
        yield request


def _lifted(setup: Setup, lift: Lift | None) -> Setup:
    rules, time = setup.rules, setup.step_time
    if lift in (Lift.BATCH, Lift.SETTINGS):
        rules = replace(rules, max_num_seqs=rules.max_num_seqs * PLENTY)
    if lift in (Lift.KV, Lift.SETTINGS):
        rules = replace(rules, kv_blocks=rules.kv_blocks * PLENTY)
    if lift in (Lift.BUDGET, Lift.SETTINGS):
        rules = replace(rules, max_num_batched_tokens=max(USUAL_BUDGET, rules.max_num_batched_tokens))
    if lift is Lift.CACHE:
        rules = replace(rules, prefix_caching=True)
    if lift is Lift.CHUNK:
        rules = replace(rules, max_num_batched_tokens=min(SMALL_BUDGET, rules.max_num_batched_tokens), mixed=True)
    if lift is Lift.HARDWARE:
        time = time.scaled(0.25)
    if lift is Lift.DECODE:
        time = replace(time, per_sequence_s=0.0, per_context_token_s=0.0)
    if lift is Lift.PROMPTS:
        time = replace(time, per_token_s=0.0, per_pair_s=0.0)
    return replace(setup, rules=rules, step_time=time)
