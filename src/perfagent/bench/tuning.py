"""How near the best setting do a few live trials get?

A problem is an emulated server with hidden speed, its load, its objectives and a bad start. Every method may try
settings live, two minutes each, and keeps the one that measured best. What that is really worth is known from long runs
of every setting on the grid, all under the same traffic.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from perfagent import engines
from perfagent.bench.cores import over_cores
from perfagent.bench.play import play as play_pages
from perfagent.bench.scenario import Kind, Scenario, capacity_per_s, pick
from perfagent.collectors.page import PageReader
from perfagent.domain.knob import Knob, LaunchConfig, change_of
from perfagent.domain.slo import Objective, SloMetric
from perfagent.domain.window import Window
from perfagent.emulator.model import model
from perfagent.emulator.setup import Machine, Setup, StartFailed, prepare
from perfagent.forecast.demand import Sample
from perfagent.forecast.play import Run, play
from perfagent.twin import Lengths, Workload
from perfagent.twin.gpus import Gpu, gpu
from perfagent.twin.hardware import Hardware

Setting = tuple[int, int]
"""Requests that run at once, and tokens of a step."""
SEATS, TOKENS = range(2, 11), range(8, 15)
"""Powers of two: from 4 to 1,024 and from 256 to 16,384."""
GRID: tuple[Setting, ...] = tuple((2**seats, 2**tokens) for seats in SEATS for tokens in TOKENS if seats <= tokens)
MOST_TRIALS = 8
TRIAL_S, WARM_S, EVERY_S = 120.0, 30.0, 5.0
LONG_RUNS = 4
"""Trials whose mean is what a setting is worth."""
BEHIND = 0.8
"""Of the best in the first long run; what reaches less there is not the best of four with the same luck."""
LONG_LUCK = 1 << 30
"""Of the first long run: no trial has it."""
SOLVABLE = 0.5
"""Share of the tokens asked for that the best setting serves in time; with less, no setting is any good."""
RELEASE = "0.33.0"
LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Problem:
    """A server that is set badly for its load."""

    number: int
    machine: Machine
    sheet: str
    """The GPU's name; it is faster or slower than its sheet says."""
    workload: Workload
    objectives: tuple[Objective, ...]
    start: Setting


@dataclass(frozen=True, slots=True)
class Solved:
    """What a method made of a problem with one seed's luck."""

    method: str
    problem: int
    seed: int
    trials: int
    reached: float
    """True value of the setting it keeps, as a share of the best one's on the grid; ours may leave the grid."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a method tried live, in order, and which of that and the start it keeps."""

    tried: tuple[Setting, ...]
    kept: Setting


Method = Callable[[Problem, int], Found]


def problem(number: int) -> Problem:
    """The problem of this number."""
    rng = np.random.default_rng([7, number])
    sheet = pick(rng, ("h100", "a100-80", "l40s", "h200"))
    machine = Machine("vllm", RELEASE, _off_the_sheet(rng, gpu(sheet)), model("llama-3.1-8b"))
    prompt, output = (
        Lengths(pick(rng, (250, 500, 1000, 2000)), 0.5, LONGEST // 2),
        Lengths(pick(rng, (60, 150, 300)), 0.5, LONGEST // 4),
    )
    roomy = _prepared(machine, (1024, 8192))
    rate = capacity_per_s(roomy, prompt.mean, output.mean) * float(rng.uniform(0.3, 0.8))
    step_s = roomy.step_time.seconds(1, 1, round(prompt.mean), 0.0)
    objectives = (
        Objective(SloMetric.TTFT, pick(rng, (0.5, 1.0, 2.0)), share=0.95),
        Objective(SloMetric.TPOT, step_s * float(rng.uniform(1.5, 4.0)), share=0.95),
    )
    start = (pick(rng, (4, 8, 16)), pick(rng, (512, 2048, 8192)))
    return Problem(number, machine, sheet, Workload(((0.0, min(rate, 40.0)),), prompt, output), objectives, start)


def solve_all(problems: Sequence[int], seeds: int, methods: Mapping[str, Method]) -> Iterator[list[Solved]]:
    """Every method on every problem with every seed, problem by problem."""
    return over_cores(partial(solve, seeds=seeds, methods=methods), problems, few=1)


def solve(number: int, *, seeds: int, methods: Mapping[str, Method]) -> list[Solved]:
    """One problem; nothing where no setting serves half of what is asked for in time."""
    of = problem(number)
    best = best_of(of)
    if best < SOLVABLE * of.workload.rate_per_s[0][1] * of.workload.output.mean:
        return []
    found = []
    for seed in range(seeds):
        for name, method in methods.items():
            made = method(of, seed)
            found.append(Solved(name, number, seed, len(made.tried), (worth_of(of, made.kept) or 0.0) / best))
    return found


def best_measured(of: Problem, seed: int, tried: Sequence[Setting]) -> Found:
    """Kept is what measured best."""
    return Found(tuple(tried), max((of.start, *tried), key=lambda setting: measured(of, setting, seed)))


def better(found: Sequence[Solved], method: str, than: str) -> float:
    """One-sided p of Wilcoxon's signed-rank test over pairs of the same problem and luck; 1 where all are alike."""
    from scipy.stats import wilcoxon  # half a second, which no other command should wait for

    of = {
        name: {(one.problem, one.seed): one.reached for one in found if one.method == name} for name in (method, than)
    }
    gaps = [value - of[than][key] for key, value in of[method].items()]
    return float(wilcoxon(gaps, alternative="greater").pvalue) if any(gaps) else 1.0


def watched_trial(of: Problem, setting: Setting, seed: int) -> tuple[Window, LaunchConfig]:
    """What an agent sees of a trial."""
    launch = _launch(of.machine, setting)
    workload = replace(of.workload, seed=_luck(of, setting, seed))
    scenario = Scenario(
        of.number, Kind.HEALTHY, of.machine, launch, _prepared(of.machine, setting), workload, told=True,
        warm_s=WARM_S, span_s=TRIAL_S, every_s=EVERY_S,
    )  # fmt: skip
    played = play_pages(scenario, pages=True)
    reader = PageReader()
    pages = zip(played.times, played.pages[0], strict=True)
    return Window(tuple(reader.read(page.encode(), "vllm", target="trial", at_s=at_s) for at_s, page in pages)), launch


@cache
def measured(of: Problem, setting: Setting, seed: int) -> float:
    """Goodput of a trial, none where the server does not start."""
    return _goodput(of, setting, _luck(of, setting, seed)) or 0.0


def best_of(of: Problem) -> float:
    """What the best setting of the grid is worth.

    Long runs share their luck, so what lags behind in the first one is not played again, and seats beyond those that
    are ever taken change nothing.
    """
    first: dict[Setting, float] = {}
    for tokens in dict.fromkeys(tokens for _, tokens in GRID):
        before = None
        for setting in sorted(setting for setting in GRID if setting[1] == tokens):
            run = _run(of, setting, LONG_LUCK)
            if run is None:
                continue
            if before is not None and run.figures == before:
                break
            first[setting], before = run.goodput_tok_s(of.objectives), run.figures
    near = [setting for setting, value in first.items() if value >= BEHIND * max(first.values())]
    return max(worth_of(of, setting) or 0.0 for setting in near)


@cache
def worth_of(of: Problem, setting: Setting) -> float | None:
    """What a setting is worth by long runs; None where the server does not start with it."""
    values = [_goodput(of, setting, LONG_LUCK + run) for run in range(LONG_RUNS)]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _goodput(of: Problem, setting: Setting, luck: int) -> float | None:
    run = _run(of, setting, luck)
    return None if run is None else run.goodput_tok_s(of.objectives)


def _run(of: Problem, setting: Setting, luck: int) -> Run | None:
    try:
        setup = _prepared(of.machine, setting)
    except StartFailed:
        return None
    requests, end_s = [], WARM_S + TRIAL_S
    for request in replace(of.workload, seed=luck).requests():
        if request.arrival_s >= end_s:
            break
        requests.append(request)
    return play(setup.rules, setup.step_time, Sample(requests, None), (WARM_S, end_s))


def _luck(of: Problem, setting: Setting, seed: int) -> int:
    return int(np.random.default_rng([9, of.number, *setting, seed]).integers(1 << 30))


@cache
def _prepared(machine: Machine, setting: Setting) -> Setup:
    return prepare(machine, _launch(machine, setting))


def _launch(machine: Machine, setting: Setting) -> LaunchConfig:
    knobs = {Knob.MAX_MODEL_LEN: LONGEST, Knob.MAX_NUM_SEQS: setting[0], Knob.MAX_NUM_BATCHED_TOKENS: setting[1]}
    return engines.render("vllm", LaunchConfig(), change_of(knobs), machine.release)


def _off_the_sheet(rng: np.random.Generator, sheet: Gpu) -> Gpu:
    bandwidth, peak = (float(factor) for factor in np.exp(rng.normal(0, 0.25, 2)))
    of = sheet.hardware
    return replace(sheet, hardware=Hardware(of.bandwidth_bytes_per_s * bandwidth, of.peak_flop_per_s * peak))
