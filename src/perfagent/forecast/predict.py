"""What would happen: the twin asked many times, with every constant as uncertain as it is and luck drawn anew.

The figures of all draws give the median and the interval. Now and after share their luck, so that what differs between
them is the change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log
from typing import Self

import numpy as np

from perfagent.domain.knob import Change, EffectiveConfig, Knob, LaunchConfig
from perfagent.domain.machine import CPU, Machine
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, observed
from perfagent.engines.habits import Moment, whole
from perfagent.forecast import server as servers
from perfagent.forecast.demand import Demand, Load, demand, recent
from perfagent.forecast.fitted import Fitted, fitted
from perfagent.forecast.measured import measured
from perfagent.forecast.play import Figure, Run, play
from perfagent.forecast.server import SOME_MODEL_LEN, Server
from perfagent.twin import StepTime
from perfagent.twin.belief import Belief
from perfagent.twin.data_types import TABLE_GPU, DataTypes, Ratios, ratios
from perfagent.twin.gpus import gpu
from perfagent.twin.kernel_tables import better

DRAWS = 60
MODEL_ERROR = 0.04
"""Of every step's time: what the twin's form leaves out. This and the draws: the study that the twin is built on."""
CAPACITY_ERROR = 0.03
"""Of the KV tokens after a change of memory."""
CRITICAL = 4.0
"""Elasticity beyond which a figure hangs on what nobody knows so well. Same source."""
WIDE = 3.0
"""An interval whose ends differ by more than this factor tells a direction only. Same source."""
NUDGE = 1.02
LIFETIMES_BEFORE, LONGEST_BEFORE_S = 3.0, 600.0
"""A server has filled up after a few lifetimes of its requests."""
NUDGED_DRAWS = 10
ENDS = (0.05, 0.95)
NOTHING = Load()
INTERPOLATED = frozenset({Figure.TTFT_P50, Figure.TTFT_P95, Figure.ITL_P95})
"""Figures that servers tell only as closely as their buckets are."""
WAITED = frozenset({Figure.TTFT_MEAN, Figure.TTFT_P50, Figure.TTFT_P95, Figure.E2E_MEAN, Figure.WAITING})
"""Figures that grow as long as a queue does."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """One figure after the change."""

    value: float
    low: float
    high: float
    """90 % of the draws lie between them."""
    now: float | None
    """As measured in the window; None where the engine does not tell."""
    twin_now: float | None
    """What the twin says of today: how far to trust it."""
    elasticity: float | None
    """By how many per cent the figure grows when every step takes one per cent longer."""

    direction_only: bool
    """So near a critical load, or beyond it, that the size of the effect cannot be told."""
    direction: str
    """`up`, `down`, or `either` where the interval holds today's value; `unknown` where nothing tells that."""

    @classmethod
    def of(
        cls,
        figure: Figure,
        value: float,
        interval: tuple[float, float],
        now: float | None,
        twin_now: float | None,
        elasticity: float | None,
        *,
        endless: bool = False,
    ) -> Self:
        """What the interval and the elasticity amount to; an endless figure depends on how long one looks."""
        low, high = interval
        steep = elasticity is not None and abs(elasticity) > CRITICAL
        vague = endless or steep or (high > figure.negligible and high > WIDE * low)
        # what a server tells of a quantile is as coarse as its buckets
        against = twin_now if figure in INTERPOLATED else now
        side = "unknown" if against is None else "up" if low > against else "down" if high < against else "either"
        return cls(value, low, high, now, twin_now, elasticity, vague, side)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a change would do to one replica."""

    change: Change
    load: Load
    figures: Mapping[Figure, Predicted]
    kv_tokens: float
    kv_tokens_now: float
    pinned: frozenset[str]
    """Constants that the window itself has pinned; the others are what data sheets make of them."""
    residual_ratio: float
    notes: tuple[str, ...]
    runs: tuple[Run, ...]
    """Every draw after the change."""
    today: tuple[Run, ...]
    """Every draw of today, with the same luck."""
    widening: float
    """What the intervals were widened by, as earlier outcomes ask for."""


@dataclass(frozen=True, slots=True)
class Case:
    """One replica, its load and its fit: everything that is needed to ask what would happen."""

    window: Window
    server: Server
    demand: Demand
    fitted: Fitted
    now: Mapping[Figure, float]
    """Today's figures, of all that was watched and not only of the part that is played."""
    kin: Mapping[DataTypes, Belief] = field(default_factory=dict)
    """What was learned of such servers before, by their data types."""

    @property
    def before_s(self) -> float:
        """How long the load is played before the window, for a server that was not empty when it began."""
        if not self.demand.present:
            return 0.0
        whole, queue = (observed(self.window, metric) for metric in (Metric.E2E, Metric.QUEUE_TIME))
        if whole is None or whole.mean is None:
            return 0.0
        return min(LONGEST_BEFORE_S, LIFETIMES_BEFORE * max(whole.mean - ((queue and queue.mean) or 0.0), 0.0))

    def ratios_to(self, types: DataTypes) -> Ratios:
        """What a change to these data types does to the step time: known kernels, and what such servers showed."""
        now, machine = self.server.types, self.server.machine
        native = machine.gpu is None or machine.gpu == CPU or gpu(machine.gpu).fp8
        known = ratios(now, types, native=native, own=machine.gpu == TABLE_GPU)
        if types == now:
            return known
        if machine.shape is not None and machine.gpus == 1:
            known = better(known, self.server.engine, machine.gpu, machine.shape, now, types)
        return known.measured(self.kin[now], self.kin[types]) if {now, types} <= self.kin.keys() else known


def case(
    window: Window,
    config: EffectiveConfig,
    launch: LaunchConfig,
    machine: Machine,
    recall: Callable[[Server], Belief | None] = lambda _: None,
) -> Case:
    """What the window tells of a replica, on top of what is recalled of such servers.

    Raises `InvalidInput` where that is not enough to predict anything.
    """
    server = servers.known(window, config, launch, machine)
    wanted = demand(window)
    found = fitted(window, server, wanted, recall(server))
    part, played = recent(window, wanted)
    return Case(part, server, played, found, measured(window, wanted.span))


class Forecaster:
    """Asks the twin about one replica again and again.

    Draw by draw every question has the same luck and the same error in every constant, so differences between answers
    are differences between settings. What the twin says of today is computed once. `widening` is what earlier forecasts
    and their outcomes say of the intervals: a power of their ends' ratio to the middle.
    """

    def __init__(self, of: Case, seed: int = 0, widening: float = 1.0) -> None:
        self.of = of
        self._widening = widening
        self._seed = seed
        self._today: dict[int, Run] = {}
        self._ratios: dict[DataTypes, Ratios] = {}

    def today(self, turn: int) -> Run:
        """This draw's run of the replica as it is."""
        if turn not in self._today:
            luck = self._luck(turn, self.of.server)
            self._today[turn] = luck.run(self.of, self.of.server, self.of.demand, luck.now)
        return self._today[turn]

    def after(self, turn: int, server: Server, demand: Demand, slower: float = 1.0) -> Run:
        """This draw's run of the replica as it would be, every step taking `slower` times as long."""
        luck = self._luck(turn, server)
        return luck.run(self.of, server, demand, luck.after.scaled(slower))

    def predict(
        self,
        change: Change,
        load: Load | Demand = NOTHING,
        *,
        draws: int = DRAWS,
        nudged: int = NUDGED_DRAWS,
        progress: Callable[[float], None] = lambda _: None,
    ) -> Prediction:
        """Figures after the change, beside today's; `nudged` draws tell how steep they are.

        `load` changes today's for a while to come, or takes its place and is known.

        Raises `InvalidInput` where the server would not start with the change, or nobody can tell.
        """
        of, server = self.of, servers.changed(self.of.server, change)
        demand = load.of(of.demand).to_come() if isinstance(load, Load) else load
        runs, today, slower = [], [], []
        for turn in range(draws):
            progress(turn / draws)
            runs.append(self.after(turn, server, demand))
            today.append(self.today(turn))
            if turn < nudged:
                slower.append(self.after(turn, server, demand, NUDGE))
        progress(1.0)
        source = self._ratios_to(server.types).source
        growing = demand.present > 0 and _queue_grows(runs)
        return Prediction(
            change,
            load if isinstance(load, Load) else NOTHING,
            {
                figure: _predicted(
                    figure,
                    runs,
                    today,
                    slower,
                    of.now.get(figure),
                    self._widening,
                    endless=growing and figure in WAITED,
                )
                for figure in Figure
                if any(figure in run.figures for run in runs)
            },
            server.kv_tokens,
            of.server.kv_tokens,
            of.fitted.fit.pinned,
            of.fitted.fit.residual_ratio,
            (*of.server.notes, *of.demand.notes, *of.fitted.notes, *((source,) if source else ())),
            tuple(runs),
            tuple(today),
            self._widening,
        )

    def _luck(self, turn: int, server: Server) -> "_Luck":
        return _Luck.draw(np.random.default_rng([self._seed, turn]), self.of, self._ratios_to(server.types))

    def _ratios_to(self, types: DataTypes) -> Ratios:
        if types not in self._ratios:
            self._ratios[types] = self.of.ratios_to(types)
        return self._ratios[types]


@dataclass(frozen=True, slots=True)
class _Luck:
    """One draw of everything that is not known."""

    now: StepTime
    after: StepTime
    capacity: float
    front_end_s: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, of: Case, ratios: Ratios) -> "_Luck":
        """The replica's constants today, and what the change of data types makes of the same ones."""
        steps, others, types = rng.spawn(3)
        now = next(of.fitted.fit.belief.draws(steps)).scaled(exp(MODEL_ERROR * steps.standard_normal()))
        front_end = of.fitted.front_end
        return cls(
            now,
            now.times(ratios.draw(types)),
            exp(CAPACITY_ERROR * others.standard_normal()),
            front_end.seconds * exp(front_end.log_sd * others.standard_normal()),
            int(others.integers(2**31)),
        )

    def run(self, of: Case, server: Server, demand: Demand, step_time: StepTime) -> Run:
        """The twin's run of this server under this demand."""
        rules = server.rules
        if server.kv_tokens != of.server.kv_tokens:
            rules = replace(rules, kv_blocks=max(1, round(rules.kv_blocks * self.capacity)))
        longest = whole(server.values, Knob.MAX_MODEL_LEN) or SOME_MODEL_LEN
        sample = demand.requests(
            np.random.default_rng(self.seed), longest=longest, before_s=of.before_s if demand.present else 0.0
        )
        per_step = server.habits.moments.get(Metric.ITL) is Moment.STEP
        return play(rules, step_time, sample, demand.span, self.front_end_s, gaps_are_steps=per_step)


_Runs = Sequence[Run]


def _queue_grows(runs: _Runs) -> bool:
    """In nearly every draw, so it is no luck: more comes than is served."""
    grown = [run.queue_growth for run in runs]
    return float(np.quantile(grown, ENDS[0])) > 0 and float(np.median(grown)) > Figure.WAITING.negligible


def carried(value: float, now: float, twin_now: float) -> float:
    """What the twin says, times what its error about today makes of it.

    What stays as it is keeps its error, which is known; what becomes something else may have another. So the error is
    taken over as far as the figures are alike, as the smaller's share of the larger.
    """
    alike = min(value / twin_now, twin_now / value)
    return value * exp(alike * log(now / twin_now))


def _predicted(
    figure: Figure,
    runs: _Runs,
    today: _Runs,
    nudged: _Runs,
    now: float | None,
    widening: float,
    *,
    endless: bool = False,
) -> Predicted:
    """The draws' median and interval, corrected by what the twin gets wrong about today.

    How far it is wrong about today it may be wrong about tomorrow, so the correction narrows nothing.
    """
    after = np.array([run.figures[figure] for run in runs if figure in run.figures])
    before = [run.figures[figure] for run in today if figure in run.figures]
    twin_now = float(np.median(before)) if before else None
    value = float(np.median(after))
    if figure not in INTERPOLATED and now and twin_now and value:
        corrected = min(carried(value, now, twin_now), figure.most)
        errors = log(twin_now / now) * np.random.default_rng(len(after)).standard_normal(len(after))
        value, after = corrected, after * corrected / value * np.exp(errors)
    low, high = (float(q) for q in np.quantile(after, ENDS))
    low, high = (min(end, figure.most) for end in wider(value, (low, high), widening))
    pairs = [
        (run.figures.get(figure, 0.0), slow.figures.get(figure, 0.0)) for run, slow in zip(runs, nudged, strict=False)
    ]
    slopes = [log(slow / run) / log(NUDGE) for run, slow in pairs if run > 0 and slow > 0]
    elasticity = float(np.median(slopes)) if slopes else None
    return Predicted.of(figure, value, (min(low, value), max(high, value)), now, twin_now, elasticity, endless=endless)


def wider(middle: float, interval: tuple[float, float], power: float) -> tuple[float, float]:
    """The interval with each end so many times as far from the middle, in logarithms; an end at 0 stays there."""
    return tuple(middle * (end / middle) ** power if middle > 0 else end for end in interval)  # type: ignore[return-value]
