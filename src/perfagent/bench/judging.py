"""Whole rollouts on drawn fleets: the product's own state machine, stages and judge, on figures instead of pages.

A rollout ends promoted, rolled back, or held for a person, which is where this stops. The incumbents see the same fleet
in the same minutes of its first stage.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf

import numpy as np

from perfagent.bench.cores import over_cores
from perfagent.bench.fleets import EFFECTS, METRICS, NOISES, Fleet
from perfagent.bench.incumbents import RULES, watch
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Knob, LaunchConfig
from perfagent.domain.metric import Metric
from perfagent.domain.share import Share
from perfagent.domain.snapshot import Target
from perfagent.domain.verdict import PairedWindow, Quiet, StageVerdict
from perfagent.judge import Measured, criteria_for, decide
from perfagent.judge.criteria import SHARES
from perfagent.judge.noise import Logs, quiet
from perfagent.workflows.due import due
from perfagent.workflows.events import Applied, Apply, Judge, Judged, Planned, PriorStored, Requested, Touching
from perfagent.workflows.machine import begin, step
from perfagent.workflows.model import Captured, Pace, Phase, Plan, PlannedStage, Request, Rollout, stretch_s
from perfagent.workflows.observation import observation
from perfagent.workflows.planning import check_decidable, foreseen

MINUTE_S = 60.0
LONGEST_MIN = 120
"""Three stages of half an hour, each with its warm-up."""


@dataclass(frozen=True, slots=True)
class Design:
    """A fleet and the stages in which it is changed."""

    name: str
    replicas: int
    stages: tuple[int, ...]

    @property
    def first(self) -> int:
        """Replicas of the first stage."""
        return Share(self.stages[0]).of(self.replicas)


DESIGNS = (
    Design("1/10", 10, (10, 50, 100)),
    Design("2/10", 10, (20, 50, 100)),
    Design("5/10", 10, (50, 100)),
    *(
        Design(f"{replicas} alone" if replicas == 1 else f"1/{replicas}", replicas, (10, 50, 100))
        for replicas in (1, 2, 3, 4)
    ),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """What was drawn."""

    design: Design
    noise: str
    effect: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How a rollout ended."""

    cell: Cell
    phase: Phase
    """Completed, rolled back, held, or failed: refused before anything was touched, as nothing could be decided."""
    minutes: float
    """Since the first replica was touched."""
    stage: int
    """The stage at whose end that was, in percent."""
    why: str
    incumbents: dict[str, bool]
    """By rule: whether it rolled the first stage back. Empty where nothing that they watch is changed."""


CELLS = tuple(Cell(design, noise, effect) for noise in NOISES for design in DESIGNS for effect in EFFECTS)


def play_all(
    seed: int, fleets: int, cells: Sequence[Cell] = CELLS, *, workers: int | None = None
) -> Iterator[list[Ending]]:
    """So many fleets of every cell; the same on any number of workers."""
    return over_cores(partial(_play_each, seed, tuple(cells)), range(fleets), few=0, workers=workers)


def _play_each(seed: int, cells: Sequence[Cell], number: int) -> list[Ending]:
    return [play(seed, number, cell) for cell in cells]


def play(seed: int, number: int, cell: Cell) -> Ending:
    """One rollout on one fleet."""
    rng = np.random.default_rng([seed, number, CELLS.index(cell)])
    fleet = Fleet(rng, cell.design.replicas, NOISES[cell.noise], EFFECTS[cell.effect], minutes=LONGEST_MIN)
    start_s = fleet.start_min * MINUTE_S
    noise = _quiet(fleet, Pace())
    rollout, incumbents, now_s = _started(cell.design, noise, start_s), dict[str, bool](), start_s
    try:
        check_decidable(replace(rollout.planned, outlook=foreseen(rollout.planned, noise)))
    except InvalidInput as refusal:
        return Ending(cell, Phase.FAILED, 0.0, 0, str(refusal), {})
    while rollout.phase in (Phase.ROLLING_OUT, Phase.MONITORING):
        match due(rollout, now_s):
            case Apply(targets) if fresh := tuple(each for each in targets if each not in rollout.touched):
                fleet.change([_place(each) for each in fresh], int(now_s / MINUTE_S))
                rollout = step(step(rollout, Touching(now_s, fresh)), Applied(now_s))
                if rollout.stage == 0 and cell.effect != "ITL +20 %":
                    luck = np.random.default_rng([seed, number, CELLS.index(cell), 1])
                    seen = watch(luck, fleet, cell.design.first, int(now_s / MINUTE_S) + 1)
                    incumbents = {name: rule(seen) for name, rule in RULES.items()}
            case Apply():
                rollout = step(rollout, Applied(now_s))
            case Judge():
                rollout = step(rollout, Judged(now_s, _judge(rollout, fleet), None))
            case _:
                now_s = rollout.judge_at_s or inf
    phase = Phase.ROLLED_BACK if rollout.phase is Phase.ROLLING_BACK else rollout.phase
    stage = rollout.history[-1].percent
    return Ending(cell, phase, (now_s - start_s) / MINUTE_S, stage, rollout.reason, incumbents)


def _started(design: Design, noise: Quiet, now_s: float) -> Rollout:
    """A rollout whose next step is the first replica."""
    ids = tuple(f"{place:02d}" for place in range(design.replicas))
    plan = Plan(
        service="drawn",
        engine="vllm",
        release=None,
        actuator="drawn",
        targets=tuple(Target(each, f"http://{each}") for each in ids),
        change=((Knob.MAX_NUM_SEQS, 64),),
        prior=(),
        flags=(),
        description="drawn",
        effects=(),
        risks=(),
        needs_approval=False,
        criteria=criteria_for(None, METRICS),
        stages=tuple(
            PlannedStage(percent, Share(percent).actual_percent(len(ids)), ids[: Share(percent).of(len(ids))])
            for percent in design.stages
        ),
        pace=Pace(),
    )
    asked = Requested(now_s, Request("drawn", "the benchmark"))
    stored = PriorStored(now_s, tuple(Captured(each, LaunchConfig(), LaunchConfig()) for each in ids), noise)
    return step(step(begin("drawn", asked), Planned(now_s, plan)), stored)


def _judge(rollout: Rollout, fleet: Fleet) -> StageVerdict:
    plan, shown = rollout.planned, observation(rollout)
    canary, baseline = [_place(each) for each in shown.canary], [_place(each) for each in shown.baseline]
    start_s, end_s = max(0.0, shown.past_s[0]), shown.past_s[1]
    every_s = stretch_s(plan.pace)
    known = int((end_s - start_s) / every_s) if fleet.noise.known_min else 0
    past = [(end_s - (known - k) * every_s, end_s - (known - k - 1) * every_s) for k in range(known)]
    arms = (baseline, canary) if baseline else (canary, [])
    measured = Measured(
        tuple(_window(fleet, each.metric, span, baseline, canary) for each in plan.criteria for span in shown.windows),
        tuple(_window(fleet, each.metric, span, *arms) for each in plan.criteria for span in past),
        rollout.quiet,
    )
    return decide(measured, plan.criteria, rule=shown.rule, paired=bool(baseline), look=shown.look)


def _quiet(fleet: Fleet, pace: Pace) -> Quiet:
    """The noise as `judge.measure` and `judge.noise` make it of the past that is known."""
    each = round(stretch_s(pace) / MINUTE_S)
    found: dict[Metric, Logs] = {}
    for metric in METRICS:
        if metric in SHARES or not fleet.start_min:
            continue
        means, counts = fleet.figures(metric, slice(0, fleet.start_min), list(range(fleet.requests.shape[1])))
        weights = np.ones_like(counts) if metric is Metric.GENERATION_TOKENS else counts
        sums, weighed = ((arm).reshape(-1, each, means.shape[1]).sum(axis=1) for arm in (means * weights, weights))
        sign = -1 if metric is Metric.GENERATION_TOKENS else 1
        found[metric] = sign * np.log(sums / weighed).T
    return quiet(found, stretch_s(pace))


def _window(
    fleet: Fleet, metric: Metric, span: tuple[float, float], baseline: list[int], canary: list[int]
) -> PairedWindow:
    old, old_count = _pooled(fleet, metric, span, baseline)
    new, new_count = _pooled(fleet, metric, span, canary)
    return PairedWindow(*span, metric, old, new, old_count, new_count, len(baseline), len(canary))


def _pooled(fleet: Fleet, metric: Metric, span: tuple[float, float], replicas: list[int]) -> tuple[float | None, float]:
    """An arm's figure as `judge.measure` makes it of pages: over all requests, or per replica for a rate."""
    if not replicas:
        return None, 0.0
    means, counts = fleet.figures(metric, slice(round(span[0] / MINUTE_S), round(span[1] / MINUTE_S)), replicas)
    seen = float(counts.sum())
    if metric is Metric.GENERATION_TOKENS:
        return float(means.mean()), seen
    return (float((means * counts).sum()) / seen if seen else None), seen


def _place(target: str) -> int:
    return int(target)
