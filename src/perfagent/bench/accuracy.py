"""How near forecasts came to what servers then told, beside goals and beside two guesses that need no twin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from perfagent.bench.interval import Measured, share
from perfagent.domain.knob import Change
from perfagent.forecast import DRAWS, Case, Figure, Forecaster, Load
from perfagent.forecast.demand import Demand

COMPARED = (Figure.THROUGHPUT, Figure.ITL_MEAN, Figure.TTFT_MEAN, Figure.E2E_MEAN)
"""Figures that servers tell exactly."""
GOALS: Mapping[bool, Mapping[Figure, float]] = {
    True: {Figure.THROUGHPUT: 0.05, Figure.ITL_MEAN: 0.08, Figure.TTFT_MEAN: 0.20},
    False: {Figure.THROUGHPUT: 0.08, Figure.ITL_MEAN: 0.12, Figure.TTFT_MEAN: 0.25},
}
"""Median errors to stay below, with the same data types and with others. They and `GOAL_HOLDS` were set by the study
that the twin is built on, before there was a twin."""
GOAL_HOLDS = 0.85
"""Share of 90 % intervals to hold at least."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of one forecast beside what came."""

    before: str
    after: str
    change: Change
    same_load: bool
    same_types: bool
    """Weights and cache keep their data types, so the kernels are the same."""
    figure: Figure
    predicted: float
    low: float
    high: float
    real: float
    direction_only: bool
    unchanged: float | None = None
    """The guess that nothing changes: what the first server told."""
    in_proportion: float | None = None
    """The guess that what clients ask more of grows by as much."""

    @property
    def error(self) -> float:
        """Relative, with its sign."""
        return self.predicted / self.real - 1

    @property
    def holds(self) -> bool:
        """Whether the 90 % interval does."""
        return self.low <= self.real <= self.high


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of one figure, over a group of forecasts."""

    group: str
    figure: Figure
    forecasts: int
    told: int
    """Those whose size was told, and not only their direction; all errors here are theirs."""
    median_error: float | None
    goal: float | None
    """For the median error."""
    unchanged_error: float | None
    """Median, had one said that nothing changes."""
    in_proportion_error: float | None
    """Median, had one said that what clients ask more of grows by as much."""
    holds: Measured
    """Of all intervals, 90 % wide."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What is being compared, and how alike the two are."""

    before: str
    after: str
    same_load: bool
    same_types: bool


def foretold(
    pair: Pair, known: Case, change: Change, load: Load | Demand, real: Mapping[Figure, float]
) -> list[Compared]:
    """What the case foretells of a change and a load, figure by figure, beside what really came.

    Raises `InvalidInput` where it foretells nothing.
    """
    found = Forecaster(known).predict(change, load, draws=DRAWS)
    demand = load.of(known.demand) if isinstance(load, Load) else load
    return [
        Compared(
            pair.before,
            pair.after,
            change,
            pair.same_load,
            pair.same_types,
            figure,
            told.value,
            told.low,
            told.high,
            real[figure],
            told.direction_only,
            told.now,
            None if told.now is None else told.now * _grown(figure, known.demand, demand),
        )
        for figure in COMPARED
        if (told := found.figures.get(figure)) is not None and real.get(figure)
    ]


def accuracy(groups: Mapping[str, Sequence[Compared]]) -> list[Accuracy]:
    """By group and figure; groups and figures without a forecast are left out."""
    return [
        _accuracy(name, figure, of)
        for name, group in groups.items()
        for figure in COMPARED
        if (of := [one for one in group if one.figure is figure])
    ]


def _accuracy(name: str, figure: Figure, of: Sequence[Compared]) -> Accuracy:
    told = [one for one in of if not one.direction_only]
    goals = {GOALS[one.same_types].get(figure) for one in of}
    return Accuracy(
        name,
        figure,
        len(of),
        len(told),
        _middle([one.predicted for one in told], told),
        goals.pop() if len(goals) == 1 else None,
        _middle([one.unchanged for one in told], told),
        _middle([one.in_proportion for one in told], told),
        share(sum(one.holds for one in of), len(of)),
    )


def _middle(guesses: Sequence[float | None], of: Sequence[Compared]) -> float | None:
    errors = [abs(guess / one.real - 1) for guess, one in zip(guesses, of, strict=True) if guess is not None]
    return median(errors) if errors else None


def _grown(figure: Figure, before: Demand, after: Demand) -> float:
    """Throughput goes by the tokens asked for per second, answers and first tokens by lengths, gaps by nothing."""
    prompts, answers = after.prompt.mean / before.prompt.mean, after.output.mean / before.output.mean
    if figure is Figure.THROUGHPUT:
        return answers * after.rate_per_s / before.rate_per_s
    return {Figure.TTFT_MEAN: prompts, Figure.E2E_MEAN: answers}.get(figure, 1.0)
