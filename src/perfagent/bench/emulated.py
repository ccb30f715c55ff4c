"""How well is a change foretold of emulated servers that differ from the twin in what it cannot know?

A server, its load and a change are drawn. Ten minutes of its pages are all that the forecast sees, beside what an owner
tells; then the same server is played with the change and fresh luck, and its own pages say what came. The rules of the
schedulers are the twin's: what these get wrong only recordings of real servers tell.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import heappop, heappush

import numpy as np

from perfagent import engines
from perfagent.bench.accuracy import Compared, Pair, foretold
from perfagent.bench.cores import over_cores
from perfagent.bench.hidden import HiddenPace, Physics
from perfagent.bench.play import STARTED_AT_S
from perfagent.bench.scenario import RELEASES, Undrawable, capacity_per_s, pick
from perfagent.bench.traffic import EVENNESS, Mixture, Traffic
from perfagent.collectors.page import PageReader
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.domain.knob import Change, Knob, KnobValue, LaunchConfig, change_of
from perfagent.domain.machine import Machine as Told
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window
from perfagent.emulator.clients import ClientLog
from perfagent.emulator.model import model
from perfagent.emulator.process import Process
from perfagent.emulator.setup import Machine, Setup, StartFailed, prepare
from perfagent.forecast import Case, Figure, Load, case
from perfagent.forecast.measured import measured
from perfagent.twin import Request, SharedPrefixes
from perfagent.twin.gpus import gpu

ATTEMPTS = 50
WARM_S, SPAN_S = 60.0, 600.0
"""From the start of a process to its first page, and on to the last. The goals are for ten minutes and more."""
LOOK_S = 0.1
"""How often clients that wait look for their answers."""
FEWEST_PER_S, MOST_PER_S = 0.2, 20.0
"""Fewer requests make no figures in ten minutes, more take long to play."""
GPUS = ("h200", "h100", "a100-80", "l40s", "a10", "l4")
TYPES = frozenset({Knob.QUANTIZATION, Knob.KV_CACHE_DTYPE})
SETTINGS: Mapping[Knob, tuple[KnobValue, ...]] = {
    Knob.MAX_NUM_SEQS: (4, 8, 16, 32, 64, 128, 256),
    Knob.MAX_NUM_BATCHED_TOKENS: (512, 1024, 2048, 4096, 8192),
    Knob.GPU_MEMORY_UTILIZATION: (0.5, 0.6, 0.7, 0.8, 0.85, 0.9),
    Knob.ENABLE_PREFIX_CACHING: (False,),
    Knob.CHUNKED_PREFILL: (False,),
    Knob.MIXED_CHUNK: (True,),
    Knob.SCHEDULE_CONSERVATIVENESS: (0.3, 0.7, 1.3),
}
"""Of these one is changed, where the engine has it; the first three are often set from the start."""
EIGHT_BITS = ("fp8", "fp8_e4m3", "fp8_e4m3fn")


@dataclass(frozen=True, slots=True)
class Growth:
    """What clients ask for, as shares of what they asked for before."""

    requests: float = 1.0
    prompt: float = 1.0
    output: float = 1.0

    def of(self, known: Case) -> Load:
        """As an owner would say it of a load that was watched."""
        prompt, output = known.demand.prompt.mean, known.demand.output.mean
        return Load(
            scale=None if self.requests == 1 else self.requests,
            prompt_tokens=None if self.prompt == 1 else self.prompt * prompt,
            output_tokens=None if self.output == 1 else self.output * output,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """One server, its load, and what is changed."""

    machine: Machine
    told: Told
    """What its owner knows of the hardware and the model."""
    physics: Physics
    launch: LaunchConfig
    setup: Setup
    traffic: Traffic
    every_s: float
    change: Change
    growth: Growth
    luck: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one trial."""

    number: int
    engine: str
    change: Change
    growth: Growth
    refused: str | None
    """Why nothing was foretold."""
    starts: bool
    """Whether the server does, with the change."""
    compared: tuple[Compared, ...]


def foretell_all(seed: int, trials: int, *, workers: int | None = None) -> Iterator[Answer | None]:
    """Each in turn, as they are asked for; None for a trial that could not be drawn."""
    return over_cores(partial(foretell, seed), range(trials), few=2, workers=workers)


def foretell(seed: int, number: int) -> Answer | None:
    """The first of these draws whose parts go together."""
    for attempt in range(ATTEMPTS):
        try:
            return answer(number, draw(seed, number, attempt))
        except Undrawable:
            continue
    return None


def draw(seed: int, number: int, attempt: int = 0) -> Trial:
    """A trial; engines come up equally often. Raises `Undrawable` where its parts do not go together."""
    rng = np.random.default_rng([seed, number, attempt])
    engine = tuple(RELEASES)[number % len(RELEASES)]
    sheet = gpu(pick(rng, GPUS))
    machine = Machine(engine, pick(rng, RELEASES[engine]), sheet, model("llama-3.1-8b"))
    longest = pick(rng, (4096, 8192))
    before = {Knob.MAX_MODEL_LEN: longest, **_settings(rng, tuple(SETTINGS)[:3], 0.4)}
    flag = machine.habits.metrics_flag
    launch = _rendered(machine, LaunchConfig(flags=() if flag is None else (flag,)), change_of(before))
    physics = Physics.draw(rng)
    try:
        setup = hidden_setup(machine, launch, physics)
    except StartFailed as failure:
        raise Undrawable(str(failure)) from failure
    traffic = _traffic(rng, setup, longest)
    change, growth = _change(rng, machine, setup), Growth()
    if rng.random() < 0.5 or not change:
        growth = _growth(rng)
    _rendered(machine, launch, change)
    told = Told(sheet.name, 1, machine.model.shape) if rng.random() < 0.75 else Told()
    every_s = pick(rng, (5.0, 10.0, 15.0))
    return Trial(machine, told, physics, launch, setup, traffic, every_s, change, growth, int(rng.integers(1 << 31)))


def answer(number: int, of: Trial) -> Answer:
    """What is foretold of it, beside what comes."""
    pair = Pair(f"{number}", f"{number} changed", of.growth == Growth(), not TYPES & dict(of.change).keys())
    real: Mapping[Figure, float] = {}
    launch, starts = _rendered(of.machine, of.launch, of.change), True
    try:
        setup = hidden_setup(of.machine, launch, of.physics, of.launch)
    except StartFailed:
        starts = False
    else:
        grown = of.traffic.grown(of.growth.requests, of.growth.prompt, of.growth.output)
        after = watched(of, launch, setup, grown, luck=1)
        real = measured(after, (0.0, after.span_s))
    refused, compared = None, list[Compared]()
    try:
        known = foreseen(of)
        compared = foretold(pair, known, of.change, of.growth.of(known), real)
    except AgentError as refusal:
        refused = str(refusal)
    return Answer(number, of.machine.engine, of.change, of.growth, refused, starts, tuple(compared))


def foreseen(of: Trial) -> Case:
    """All that the forecast may go by. Raises `InvalidInput` where that is too little."""
    window, engine = watched(of, of.launch, of.setup, of.traffic, luck=0), of.machine.engine
    config = engines.effective(engine, of.launch, window.snapshots[-1].info, {}, of.machine.release)
    if engines.gap(engine, Metric.KV_CAPACITY) is not None:  # its owner reads it in the log
        config = config.told(change_of({Knob.KV_CACHE_TOKENS: of.setup.rules.kv_capacity_tokens}))
    return case(window, config, of.launch, of.told)


def watched(of: Trial, launch: LaunchConfig, setup: Setup, traffic: Traffic, *, luck: int) -> Window:
    """Ten minutes of a server's pages, from a minute after its start."""
    steps, clients = np.random.default_rng([of.luck, luck]).spawn(2)
    process = Process(
        of.machine, launch, setup, ClientLog(), at_s=0.0, started_at_s=STARTED_AT_S,
        pace=HiddenPace(of.physics, setup.step_time, steps),
    )  # fmt: skip
    sending = (_Coming if traffic.clients is None else _Waiting)(process, of.physics, traffic, clients)
    reader, snapshots = PageReader(), []
    for turn in range(round(SPAN_S / of.every_s) + 1):
        at_s = WARM_S + turn * of.every_s
        sending.until(at_s)
        process.advance(at_s)
        page = process.page().encode()
        snapshots.append(reader.read(page, of.machine.engine, target="trial", at_s=at_s - WARM_S))
    return Window(tuple(snapshots))


def hidden_setup(machine: Machine, launch: LaunchConfig, physics: Physics, before: LaunchConfig | None = None) -> Setup:
    """The server as it really is; `before` is how it was launched until now. Raises `StartFailed`."""
    setup = prepare(machine, launch)
    blocks = int(setup.rules.kv_blocks * physics.blocks)
    if blocks * setup.rules.block_size < setup.max_len:
        raise StartFailed("not one request of the longest length fits in what is left of the KV cache")
    own = physics.own(setup.step_time, None if before is None else prepare(machine, before).step_time)
    return replace(setup, rules=replace(setup.rules, kv_blocks=blocks), step_time=own)


def groups(answers: Sequence[Answer]) -> dict[str, list[Compared]]:
    """By what is changed, of all engines and of each."""
    kinds = {"kernels unchanged": True, "data type changed": False}
    engines_there = sorted({one.engine for one in answers})
    return {
        f"{kind}{'' if engine is None else f', {engine}'}": [
            compared
            for one in answers
            for compared in one.compared
            if compared.same_types is same and engine in (None, one.engine)
        ]
        for engine in (None, *engines_there)
        for kind, same in kinds.items()
    }


def refusals(answers: Sequence[Answer]) -> dict[str, int]:
    """How often which reason was given for foretelling nothing, most frequent first; figures in it are left out."""
    return dict(Counter(re.sub(r"\d[\d.,]*", "…", one.refused) for one in answers if one.refused).most_common())


class _FrontEnd:
    """What a request passes before the scheduler sees it, one after the other."""

    def __init__(self, process: Process, physics: Physics) -> None:
        self._process, self._physics = process, physics
        self._free_s = 0.0

    def send(self, request: Request) -> None:
        """A request that is sent now."""
        sent_s = request.arrival_s
        took_s = self._physics.front_end_s + self._physics.tokenizing_s * request.prompt_tokens
        self._free_s = max(self._free_s, sent_s) + took_s
        self._process.offer(replace(request, arrival_s=self._free_s), front_end_s=self._free_s - sent_s)


class _Coming:
    """Clients that come when they come."""

    def __init__(self, process: Process, physics: Physics, traffic: Traffic, rng: np.random.Generator) -> None:
        self._front_end = _FrontEnd(process, physics)
        self._requests = traffic.arrivals(rng, process.setup.max_len)
        self._next = next(self._requests)

    def until(self, at_s: float) -> None:
        """What is sent by then."""
        while self._next.arrival_s < at_s:
            self._front_end.send(self._next)
            self._next = next(self._requests)


class _Waiting:
    """Clients that wait for their answer, and think before they ask again."""

    def __init__(self, process: Process, physics: Physics, traffic: Traffic, rng: np.random.Generator) -> None:
        self._process, self._traffic = process, traffic
        self._front_end = _FrontEnd(process, physics)
        self._thinking, self._made = rng.spawn(2)
        self._asked = set[str]()
        self._due_s = [0.0] * (traffic.clients or 0)
        self._looks = self._sent = 0

    def until(self, at_s: float) -> None:
        """What is sent by then."""
        while (now_s := self._looks * LOOK_S) < at_s:
            self._looks += 1
            self._process.advance(now_s)
            for _ in self._asked - self._process.meters.open:
                heappush(self._due_s, now_s + self._traffic.think_s * float(self._thinking.exponential()))
            self._asked &= self._process.meters.open
            while self._due_s and self._due_s[0] <= now_s:
                heappop(self._due_s)
                self._sent += 1
                name = f"c{self._sent}"
                self._asked.add(name)
                self._front_end.send(self._traffic.request(self._made, name, now_s, self._process.setup.max_len))


def _settings(rng: np.random.Generator, knobs: Sequence[Knob], likely: float) -> dict[Knob, KnobValue]:
    return {knob: pick(rng, SETTINGS[knob]) for knob in knobs if rng.random() < likely}


def _change(rng: np.random.Generator, machine: Machine, setup: Setup) -> Change:
    """None in one of five, a data type in three of ten, else any other setting that the release has."""
    kind = rng.random()
    if kind < 0.2:
        return ()
    if kind < 0.5:
        knob = pick(rng, sorted(TYPES))
        options: Sequence[KnobValue] = [name for name in EIGHT_BITS if name in machine.spec.knobs[knob].choices]
    else:
        knob = pick(rng, [knob for knob in SETTINGS if engines.supports(machine.engine, knob, machine.release)])
        options = SETTINGS[knob]
    value = pick(rng, options)
    if setup.values.get(knob) == value:
        raise Undrawable("it is set like this already")
    return change_of({knob: value})


def _growth(rng: np.random.Generator) -> Growth:
    factor = float(np.exp(rng.uniform(-np.log(2), np.log(2))))
    return Growth(**{pick(rng, ("requests", "requests", "prompt", "output")): factor})


def _traffic(rng: np.random.Generator, setup: Setup, longest: int) -> Traffic:
    """Up to what the server can do, roughly."""
    prompt = Mixture.draw(rng, (60, 250, 500, 1000), longest // 2)
    output = Mixture.draw(rng, (20, 60, 150, 300), longest // 4)
    prefixes = None
    if rng.random() < 0.25:
        prefixes = SharedPrefixes(pick(rng, (1, 4, 16)), pick(rng, (200, 500, 1000)), float(rng.uniform(0.3, 1.0)))
    rate = float(rng.uniform(0.2, 1.0)) * capacity_per_s(setup, prompt.mean, output.mean)
    if rate < FEWEST_PER_S:
        raise Undrawable("too few requests in ten minutes")
    clients = pick(rng, (4, 8, 16, 32, 64)) if rng.random() < 0.25 else None
    think_s = pick(rng, (0.0, 0.0, 2.0))
    return Traffic(min(rate, MOST_PER_S), pick(rng, EVENNESS), clients, think_s, prompt, output, prefixes)


def _rendered(machine: Machine, launch: LaunchConfig, change: Change) -> LaunchConfig:
    try:
        return engines.render(machine.engine, launch, change, machine.release)
    except InvalidInput as failure:
        raise Undrawable(str(failure)) from failure
