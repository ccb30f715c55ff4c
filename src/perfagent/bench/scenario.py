"""One labelled situation, drawn from a seed: a server, its load, how it is watched, and what is wrong with it.

What is wrong goes by the number, so every kind comes up equally often on every engine; everything else is drawn. Loads
are shares of a rough estimate of what the server can do. Whether the situation came out as meant is not decided here:
`truth` plays it and says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import TypeVar

import numpy as np

from perfagent.domain.finding import Cause
from perfagent.domain.knob import Knob, KnobValue, LaunchConfig, change_of
from perfagent.emulator.model import model
from perfagent.emulator.setup import Machine, Setup, StartFailed, prepare
from perfagent.engines import render
from perfagent.twin import Lengths, SharedPrefixes, Workload
from perfagent.twin.gpus import Gpu, gpu
from perfagent.twin.hardware import Hardware

T = TypeVar("T")

NONE = "none"
"""The label of a situation in which nothing is wrong."""


class Kind(StrEnum):
    """What is played.

    Left out: `speculation_waste`, because the emulator drafts no tokens.
    """

    HEALTHY = "healthy"
    LIGHT = "light"
    BURST = "burst"
    PACKED = "packed_cache"
    COLD = "cold_start"
    CLOSED = "client_limited"
    FLEET = "even_fleet"
    BATCH_LIMIT = Cause.BATCH_LIMIT.value
    KV_CAPACITY = Cause.KV_CAPACITY.value
    PREFILL_BUDGET = Cause.PREFILL_BUDGET.value
    DECODE_BANDWIDTH = Cause.DECODE_BANDWIDTH.value
    OVERLOAD = Cause.OVERLOAD.value
    ERRORS = Cause.ERRORS.value
    LONG_PROMPTS = Cause.LONG_PROMPT_INTERFERENCE.value
    NOISY_HOST = Cause.HOST_BOUND.value
    PREFIX_CACHE = Cause.PREFIX_CACHE.value
    REPLICA_OUTLIER = Cause.REPLICA_OUTLIER.value

    @property
    def label(self) -> str:
        """The cause, or `none`."""
        return self.value if self.value in set(Cause) else NONE


class Split(StrEnum):
    """Which half of the scenarios: detectors may be worked on with one, and are judged by the other."""

    TUNE = "tune"
    TEST = "test"
    ALL = "all"

    def has(self, number: int) -> bool:
        """By a hash of the number alone, so that no seed and no count moves a scenario to the other half."""
        half = Split.TEST if sha256(str(number).encode()).digest()[0] % 2 else Split.TUNE
        return self in (Split.ALL, half)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that is needed to play it. Only `launch` and the release can reach who diagnoses, where `told`."""

    number: int
    kind: Kind
    machine: Machine
    """Its GPU is faster or slower than its data sheet says."""
    launch: LaunchConfig
    setup: Setup
    workload: Workload
    told: bool
    """Whether the recording says how the server was started."""
    replicas: int = 1
    concurrency: int | None = None
    """Clients that each send their next request when they have their answer, instead of the workload's arrivals."""
    patience_s: float | None = None
    too_long: float = 0.0
    """Share of further requests that are longer than the server takes."""
    slowness: float = 1.0
    """How many times as long the steps of the first replica take."""
    slow_from_s: float = 0.0
    """From when on, counted from the first scrape."""
    warm_s: float = 30.0
    """From the process's start to the first scrape."""
    span_s: float = 120.0
    every_s: float = 5.0


class Undrawable(Exception):
    """These draws do not go together; others may."""


ENGINES = ("vllm", "sglang", "vllm", "tgi")
RELEASES = {
    "vllm": ("0.26.0", "0.28.0", "0.30.0", "0.33.0"),
    "sglang": ("0.5.12", "0.5.18", "0.5.23"),
    "tgi": ("3.3.4", "3.3.7"),
}
_LARGE = ("a100-80", "h100", "h200")
_SMALL = ("l40s", "l4", "a10")
_FLEETS = (Kind.FLEET, Kind.REPLICA_OUTLIER)


def kind_of(number: int) -> Kind:
    """What this scenario plays."""
    return tuple(Kind)[number % len(Kind)]


def engine_of(number: int) -> str:
    """What it is played on."""
    return ENGINES[number // len(Kind) % len(ENGINES)]


def draw(seed: int, number: int, attempt: int = 0) -> Scenario:
    """A scenario; another attempt is another draw of the same kind on the same engine. Raises `Undrawable`."""
    rng = np.random.default_rng([seed, number, attempt])
    kind, engine = kind_of(number), engine_of(number)
    gpu_name = pick(rng, _LARGE if kind is Kind.DECODE_BANDWIDTH else (*_LARGE, *_SMALL))
    name = "qwen2.5-14b" if gpu_name in _LARGE and rng.random() < 0.3 else "llama-3.1-8b"
    machine = Machine(engine, pick(rng, RELEASES[engine]), _off_the_sheet(rng, gpu(gpu_name)), model(name))
    longest = pick(rng, (8192, 16_384)) if gpu_name in _LARGE else 4096
    usual: dict[Knob, KnobValue] = {Knob.MAX_MODEL_LEN: longest}
    prompt, output = _lengths(rng, kind, longest)
    roomy = _prepared(machine, usual)[1]
    launch, setup = _prepared(machine, usual | _tight_knobs(rng, kind))
    prefixes = _prefixes(rng, kind)
    whole = prompt.mean + (prefixes.tokens if prefixes else 0)
    need = whole + output.mean
    concurrency = None
    if kind is Kind.CLOSED:
        concurrency = min(pick(rng, (1, 2, 4, 8, 16, 32)), setup.rules.seats)
    elif kind is Kind.PACKED:
        concurrency = pick(rng, (6, 10, 16, 24))
        setup = _with_kv(setup, concurrency * need * float(rng.uniform(1.01, 1.08)))
    elif kind is Kind.KV_CAPACITY:
        setup = _with_kv(setup, need * float(rng.uniform(2, 16)))
    rates, warm_s, span_s = _rates(rng, kind, setup, roomy, whole, output.mean)
    replicas = pick(rng, (4, 5, 6)) if kind in _FLEETS else 1
    return Scenario(
        number,
        kind,
        machine,
        launch,
        setup,
        Workload(
            tuple((at, rate * replicas) for at, rate in rates),
            prompt,
            output,
            prefixes,
            seed=int(rng.integers(1 << 31)),
        ),
        # without its flags nobody can see that a cache is off
        told=bool(rng.random() < 0.75) or kind is Kind.PREFIX_CACHE,
        replicas=replicas,
        concurrency=concurrency,
        patience_s=pick(rng, (None, None, 30.0)),
        too_long=float(rng.uniform(0.05, 0.3)) if kind is Kind.ERRORS else 0.0,
        slowness=float(rng.uniform(2, 4)) if kind in (Kind.REPLICA_OUTLIER, Kind.NOISY_HOST) else 1.0,
        slow_from_s=span_s * float(rng.uniform(0.3, 0.7)) if kind is Kind.NOISY_HOST else -warm_s,
        warm_s=warm_s,
        span_s=span_s,
        every_s=pick(rng, (2.0, 5.0, 5.0, 10.0)),
    )


def capacity_per_s(setup: Setup, prompt: float, output: float) -> float:
    """Requests of this size that the server finishes per second at the most, roughly: what one of them costs it."""
    rules, time = setup.rules, setup.step_time
    together = max(1.0, min(rules.seats, rules.kv_capacity_tokens / (prompt + output)))
    chunk = min(prompt, rules.max_num_batched_tokens)
    steps = output / together, prompt / rules.max_num_batched_tokens
    base_s = time.base_s * (max(steps) if rules.mixed else sum(steps))
    read_s = prompt / chunk * max(0.0, chunk - time.ridge_tokens) * time.per_token_s
    batch_s = output * (time.per_sequence_s + time.per_context_token_s * (prompt + output / 2))
    return 1 / (base_s + read_s + batch_s + time.per_pair_s * prompt**2 / 2)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of them, all equally likely."""
    return options[int(rng.integers(len(options)))]


def _off_the_sheet(rng: np.random.Generator, sheet: Gpu) -> Gpu:
    bandwidth, peak = (float(factor) for factor in np.exp(rng.normal(0, 0.25, 2)))
    hardware = sheet.hardware
    return replace(
        sheet, hardware=Hardware(hardware.bandwidth_bytes_per_s * bandwidth, hardware.peak_flop_per_s * peak)
    )


def _prepared(machine: Machine, knobs: Mapping[Knob, KnobValue]) -> tuple[LaunchConfig, Setup]:
    flag = machine.habits.metrics_flag
    base = LaunchConfig(flags=() if flag is None else (flag,))
    launch = render(machine.engine, base, change_of(knobs), machine.release)
    try:
        return launch, prepare(machine, launch)
    except StartFailed as failure:
        raise Undrawable(str(failure)) from failure


def _lengths(rng: np.random.Generator, kind: Kind, longest: int) -> tuple[Lengths, Lengths]:
    prompts: tuple[int, ...] = (60, 250, 500, 1000, 2000)
    outputs: tuple[int, ...] = (20, 60, 150, 300, 600)
    sigmas: tuple[float, ...] = (0.0, 0.3, 0.6)
    if kind is Kind.PREFILL_BUDGET:
        prompts, outputs = (1000, 1500, 2000, 2500), (20, 60, 150)
    elif kind is Kind.OVERLOAD:
        prompts = (500, 1000, 2000)
    elif kind is Kind.DECODE_BANDWIDTH:
        prompts, outputs = (60, 250, 500), (300, 600, 1000)
    elif kind is Kind.PACKED:
        prompts, outputs, sigmas = (1000, 2000), (60, 150, 300), (0.0,)
    elif kind is Kind.PREFIX_CACHE:
        prompts, outputs = (60, 250), (20, 60, 150)
    elif kind is Kind.LONG_PROMPTS:
        prompts, outputs, sigmas = (1000, 2000), (300, 600), (0.8, 1.2)
    return (
        Lengths(pick(rng, prompts), pick(rng, sigmas), longest=longest * 3 // 4),
        Lengths(pick(rng, outputs), pick(rng, sigmas), longest=longest // 5),
    )


def _tight_knobs(rng: np.random.Generator, kind: Kind) -> dict[Knob, KnobValue]:
    if kind is Kind.BATCH_LIMIT:
        return {Knob.MAX_NUM_SEQS: pick(rng, (1, 2, 4, 8, 16, 32, 64))}
    if kind is Kind.PREFILL_BUDGET:
        budget = pick(rng, (64, 128, 256, 512))
        return {Knob.MAX_NUM_BATCHED_TOKENS: budget, Knob.MAX_NUM_SEQS: budget}
    return {Knob.ENABLE_PREFIX_CACHING: False} if kind is Kind.PREFIX_CACHE else {}


def _prefixes(rng: np.random.Generator, kind: Kind) -> SharedPrefixes | None:
    if kind is not Kind.PREFIX_CACHE:
        return None
    return SharedPrefixes(pick(rng, (1, 2, 4)), pick(rng, (1000, 1500, 2000)))


def _with_kv(setup: Setup, tokens: float) -> Setup:
    """With a cache of so many tokens, as if something else took the memory; never too small for the longest request."""
    rules = setup.rules
    wanted = max(tokens, setup.max_len)
    if wanted > rules.kv_capacity_tokens:
        raise Undrawable("the cache is smaller than that already")
    return replace(setup, rules=replace(rules, kv_blocks=-int(-wanted // rules.block_size)))


def _rates(
    rng: np.random.Generator, kind: Kind, setup: Setup, roomy: Setup, prompt: float, output: float
) -> tuple[list[tuple[float, float]], float, float]:
    """(from, requests per second) of one replica, how long the server is warmed up, and how long it is watched."""
    able, free = capacity_per_s(setup, prompt, output), capacity_per_s(roomy, prompt, output)
    # to count false alarms takes hours; a fleet has them anyway
    spans: tuple[int, ...] = (60, 180, 600) if kind.label == NONE and kind not in _FLEETS else (60, 120, 180)
    spans = (120, 180) if kind is Kind.NOISY_HOST else spans
    warm_s, span_s = int(rng.integers(10, 80)) / 2, float(pick(rng, spans))
    low, high = _SHARES.get(kind, (0.0, 0.0))
    rate = able * float(rng.uniform(low, high))
    if kind is Kind.DECODE_BANDWIDTH:
        rate = _heavy_rate(setup, prompt, output, slower=float(rng.uniform(1.9, 2.7)))
    if kind in (Kind.BATCH_LIMIT, Kind.KV_CAPACITY, Kind.PREFILL_BUDGET):
        rate = min(rate, 0.8 * free)
        if rate < 1.1 * able:
            raise Undrawable("the limit hardly costs anything")
    if rate > (MOST_PER_S / 3 if kind in _FLEETS else MOST_PER_S):
        raise Undrawable("too many requests to play")
    if kind is Kind.BURST:
        at_s = warm_s + span_s * float(rng.uniform(0.1, 0.6))
        return [(0.0, rate), (at_s, 4 * able), (at_s + 0.04 * span_s, rate)], warm_s, span_s
    if kind is Kind.COLD:
        return [(0.0, 4 * able), (0.02 * span_s, rate)], 0.0, span_s
    if kind is Kind.DECODE_BANDWIDTH:
        # at a steady load nothing on a page tells a heavy batch from a slow GPU
        return [(0.0, 0.2 * rate), (warm_s + 30, 0.6 * rate), (warm_s + 60, rate)], warm_s, 180.0
    return [(0.0, rate)], warm_s, span_s


def _heavy_rate(setup: Setup, prompt: float, output: float, *, slower: float) -> float:
    """Requests per second that settle at so large a batch that a step takes so many times as long as for one."""
    rules, time = setup.rules, setup.step_time
    each_s = time.per_sequence_s + time.per_context_token_s * (prompt + output / 2)
    together = (slower - 1) * time.base_s / each_s
    room = min(rules.seats, setup.request_limit or rules.seats, rules.kv_capacity_tokens / (prompt + output))
    if together > 0.8 * room:
        raise Undrawable("that many cannot run together")
    return together / (output * time.base_s * slower)


MOST_PER_S = 60.0
"""Arrivals per second and replica that are still quick to play; a third of that in fleets."""
_SHARES = {
    Kind.HEALTHY: (0.3, 0.7),
    Kind.LIGHT: (0.02, 0.15),
    Kind.BURST: (0.1, 0.3),
    Kind.COLD: (0.2, 0.6),
    Kind.FLEET: (0.1, 0.5),
    Kind.BATCH_LIMIT: (1.2, 2.5),
    Kind.KV_CAPACITY: (1.2, 2.5),
    Kind.PREFILL_BUDGET: (1.2, 2.0),
    Kind.OVERLOAD: (1.3, 2.5),
    Kind.ERRORS: (0.05, 0.4),
    Kind.LONG_PROMPTS: (0.2, 0.7),
    Kind.NOISY_HOST: (0.02, 0.15),
    Kind.PREFIX_CACHE: (0.6, 1.5),
    Kind.REPLICA_OUTLIER: (0.05, 0.3),
}
"""Load as a share of what the server can do."""
