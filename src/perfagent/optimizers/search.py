"""The best change, by asking the twin about every candidate.

Candidates are what the rules propose for the findings, and the values around it. A few draws screen them, all draws
decide between the best. Every candidate meets the same luck, so a difference is the change's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log

import numpy as np
from numpy.typing import NDArray

from perfagent.domain.errors import InvalidInput
from perfagent.domain.finding import Diagnosis
from perfagent.domain.knob import Change, EffectiveConfig, Knob
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import FORECAST, FORECAST_DIRECTION, Effect, Expected, Proposal
from perfagent.domain.slo import Comparison, Objective, SloMetric
from perfagent.forecast import DRAWS, MODEL_ERROR, Figure, Forecaster, Load, Prediction, Run, wider
from perfagent.optimizers.candidates import TUNABLE, Candidate, Promoted, with_small_steps
from perfagent.optimizers.candidates import candidates as candidates_of
from perfagent.optimizers.propose import as_proposal, propose

WORTH = 0.02
"""A gain below this is none: it is what the same server varies by."""
SURE = 0.8
"""Share of the draws in which a change must be for the better to be proposed."""
KEPT = 0.95
"""Share of the draws in which an objective that holds today must hold afterwards: the interval does not break it."""
LATE = 0.01
"""What a token that breaks an objective is worth, of one that keeps them."""
TIE = 0.01
"""Gains nearer to each other than this are alike, and the smaller change is preferred."""
MOST_REPLICAS = 64
REPLICAS_DRAWS = 5
_TOLD = {
    Figure.TTFT_MEAN: (Metric.TTFT, -1),
    Figure.ITL_MEAN: (Metric.ITL, -1),
    Figure.THROUGHPUT: (Metric.GENERATION_TOKENS, 1),
    Figure.PREEMPTIONS: (Metric.PREEMPTIONS, -1),
}
"""Figures that a proposal tells its effect on, and which way is better."""
_LATENCIES = (SloMetric.TTFT, SloMetric.ITL, SloMetric.TPOT, SloMetric.E2E_LATENCY)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work goes into an answer."""

    screening: int = 10
    """Draws that every candidate is given."""
    finalists: int = 3
    """The best of these, which all draws decide on."""
    steps: int = 4
    """As many more where the best may break an objective."""
    doubtful: int = 2
    """As many more that rules propose though few draws see the good of it."""
    draws: int = DRAWS


THOROUGH = Effort()


@dataclass(frozen=True, slots=True)
class _Screened:
    """What a few draws say of a candidate."""

    gain: float
    """Median, a logarithm."""
    candidate: Candidate
    keeps: bool
    """Whether it keeps every objective that holds today."""

    @property
    def level(self) -> int:
        """Gains of one level are alike."""
        return round(self.gain / TIE)

    def preference(self) -> tuple[float, bool, float]:
        """The most gain first, then the smaller change."""
        return _preference(self.gain, self.candidate)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What all draws say of a candidate."""

    gain: float
    """Median, a logarithm."""
    chance: float
    """Share of the draws in which it is for the better."""
    candidate: Candidate
    prediction: Prediction
    keeps: bool
    """Whether it surely keeps every objective that holds today."""

    @property
    def sure(self) -> bool:
        """Whether it is surely for the better."""
        return self.gain > WORTH and self.chance >= SURE


@dataclass(frozen=True, slots=True)
class Tuned:
    """What the twin makes of the findings."""

    proposals: tuple[Proposal, ...]
    """What is surely for the better, best first; then what rules propose and may be so, as its `chance` tells."""
    replicas: int | None
    """Where none is sure: with how many times the replicas the load would be served as asked for, as far as known."""
    asked: int
    """Candidates that were played."""
    held_back: Change = ()
    """Where no setting is sure: what would serve more within the objectives, and may break one that holds today."""


def search(
    diagnosis: Diagnosis,
    config: EffectiveConfig,
    forecaster: Forecaster,
    objectives: Sequence[Objective] = (),
    progress: Callable[[float], None] = lambda _: None,
    effort: Effort = THOROUGH,
    promoted: Promoted = (),
) -> Tuned:
    """Changes that answer the findings, best first, with what the twin expects of each.

    Better is more goodput: tokens of answers within the latency objectives, and where there are none of those, more
    tokens at all. Without objectives, it is throughput over time in the system. Never a candidate that may break an
    objective which holds today.
    """
    ask = partial(_screened, forecaster=forecaster, objectives=objectives, draws=effort.screening)
    candidates = candidates_of(diagnosis, config, forecaster.of.server, promoted)
    screened, asked = ask(candidates, progress=_part(progress, 0.0, 0.6))
    risky = [one for one in screened if not one.keeps]
    if risky and risky[0].gain > WORTH + max((one.gain for one in screened if one.keeps), default=0.0):
        pairs, more_asked = ask(
            with_small_steps(risky[0].candidate, config, forecaster.of.server), progress=_part(progress, 0.6, 0.7)
        )
        screened, asked = sorted([*pairs, *screened], key=_Screened.preference), asked + more_asked
    answers = _decided(screened, forecaster, objectives, _part(progress, 0.7, 1.0), effort)
    sure = [one for one in answers if one.keeps and one.sure]
    doubtful = [one for one in answers if one.keeps and not one.sure and one.candidate.by_rule]
    unplayed = [one for one in propose(diagnosis, config, forecaster.of.server.engine) if one.cause not in TUNABLE]
    sure.sort(key=lambda one: _preference(one.gain, one.candidate))
    doubtful.sort(key=lambda one: -one.chance)
    proposals = tuple(
        _proposal(answer, config, forecaster.of.server.engine, priority)
        for priority, answer in enumerate([*sure, *doubtful], 1)
    )
    more = tuple(replace(one, priority=priority) for priority, one in enumerate(unplayed, len(proposals) + 1))
    progress(1.0)
    if sure or not asked:
        return Tuned((*proposals, *more), None, asked)
    held_back = next((one.candidate.change for one in answers if not one.keeps and one.sure), ())
    return Tuned((*proposals, *more), _replicas(forecaster, objectives), asked, held_back)


def _screened(
    candidates: Iterable[Candidate],
    *,
    forecaster: Forecaster,
    objectives: Sequence[Objective],
    progress: Callable[[float], None],
    draws: int,
) -> tuple[list[_Screened], int]:
    """All that would start and make a difference, best first by a few draws; and how many were played.

    Values of one knob rise: once one makes no difference to the one before, those beyond it make none either.
    """
    known = list(candidates)
    if not known:
        return [], 0
    load = forecaster.of.demand  # the same arrivals for every candidate and for today
    unchanged = [run.figures for run in forecaster.predict((), load, draws=draws, nudged=0).runs]
    asked = 0
    found: list[_Screened] = []
    latest: dict[Knob, list[Mapping[Figure, float]]] = {}
    still: set[Knob] = set()
    for turn, candidate in enumerate(known):
        progress(turn / len(known))
        knob = candidate.draft.knob
        if knob in still and not candidate.by_rule:
            continue
        try:
            prediction = forecaster.predict(candidate.change, load, draws=draws, nudged=0)
        except InvalidInput:
            continue
        asked += 1
        figures = [run.figures for run in prediction.runs]
        if len(candidate.change) == 1 and not candidate.by_rule and latest.get(knob) == figures:
            still.add(knob)
        latest[knob] = figures
        if figures != unchanged:
            gain = float(np.median(_gains(prediction, objectives)))
            found.append(_Screened(gain, candidate, _keeps(prediction, objectives)))
    return sorted(found, key=_Screened.preference), asked


def _decided(
    screened: Sequence[_Screened],
    forecaster: Forecaster,
    objectives: Sequence[Objective],
    progress: Callable[[float], None],
    effort: Effort,
) -> list[_Answer]:
    """What all draws say of the best few that break no objective, of a few more that rules propose, and where nothing
    is sure of the best that may break one.

    Where one may break an objective so may whatever gains as much. What gains less is a step on the way: once it is
    made, what it brought tells more about the next.
    """
    answers: list[_Answer] = []

    def ask(candidate: Candidate) -> _Answer:
        progress(min(1.0, len(answers) / (effort.finalists + effort.steps + effort.doubtful)))
        prediction = forecaster.predict(candidate.change, forecaster.of.demand, draws=effort.draws)
        gains = _gains(prediction, objectives)
        chance = float((gains > 0).mean())
        answers.append(_Answer(float(np.median(gains)), chance, candidate, prediction, _keeps(prediction, objectives)))
        return answers[-1]

    risky = set[int]()
    for one in (one for one in screened if one.keeps and one.gain > 0):
        kept = sum(answer.keeps for answer in answers)
        if kept == effort.finalists or len(answers) == effort.finalists + effort.steps:
            break
        if one.level not in risky and not ask(one.candidate).keeps:
            risky.add(one.level)
    known = [answer.candidate for answer in answers]
    rules = [one.candidate for one in screened if one.keeps and one.candidate.by_rule and one.candidate not in known]
    for candidate in rules[: effort.doubtful]:
        ask(candidate)
    if not any(answer.keeps and answer.sure for answer in answers):
        for one in [one for one in screened if not one.keeps and one.gain > WORTH][:1]:
            ask(one.candidate)
    return sorted((one for one in answers if one.chance > 1 - SURE), key=lambda one: -one.gain)


def _gains(prediction: Prediction, objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """By how much each draw is for the better: a logarithm."""
    latencies = [one for one in objectives if one.metric in _LATENCIES and one.comparison is Comparison.LESS_THAN]
    return np.array([_gain(*pair, latencies) for pair in _both(prediction)])


def _gain(after: Run, today: Run, latencies: Sequence[Objective]) -> float:
    if not latencies:
        return log(_power(after) / _power(today))
    return log(worth(after, latencies) / worth(today, latencies))


def worth(run: Run, latencies: Sequence[Objective]) -> float:
    """Goodput, and a little of what comes too late: where nothing keeps the objectives, serving more is a way there."""
    return run.goodput_tok_s(latencies) + LATE * max(run.figures[Figure.THROUGHPUT], 1e-9)


def _power(run: Run) -> float:
    """Throughput over time in the system, Kleinrock's power of a queueing system (ICC 1979)."""
    return max(run.figures[Figure.THROUGHPUT], 1e-9) / run.figures.get(Figure.E2E_MEAN, run.span_s)


def _keeps(prediction: Prediction, objectives: Sequence[Objective]) -> bool:
    """Whether every objective that holds today holds afterwards, surely or in no fewer draws."""
    for objective in objectives:
        before, after = (_holding(runs, objective) for runs in (prediction.today, prediction.runs))
        if before is not None and after is not None and before >= 0.5 and after < min(KEPT, before):
            return False
    return True


def _holding(runs: Sequence[Run], objective: Objective) -> float | None:
    """Share of the runs in which the objective holds; None where the twin does not play what it is about."""
    values = [value for run in runs if (value := run.value(objective)) is not None]
    if not values:
        return None
    return sum(_holds(value, objective) for value in values) / len(values)


def _holds(value: float, objective: Objective) -> bool:
    if objective.share is not None:
        return value >= objective.share
    if objective.comparison is Comparison.LESS_THAN:
        return value <= objective.target
    return value >= objective.target


def _preference(gain: float, candidate: Candidate) -> tuple[float, bool, float]:
    return (-round(gain / TIE), *candidate.size)


def _part(progress: Callable[[float], None], low: float, high: float) -> Callable[[float], None]:
    """Progress of one part, as part of the whole."""
    return lambda share: progress(low + (high - low) * share)


def _proposal(answer: _Answer, config: EffectiveConfig, engine: str, priority: int) -> Proposal:
    """The change with the twin's expectations in place of rules of thumb."""
    candidate, prediction, chance = answer.candidate, answer.prediction, answer.chance
    plain = as_proposal(candidate.finding, candidate.draft, candidate.change, config, engine, priority=priority)
    doubted = () if chance >= SURE else (f"for the better in only {chance:.0%} of what may come",)
    return replace(
        plain,
        effects=_effects(prediction),
        risks=(*plain.risks, *doubted),
        needs_approval=plain.needs_approval or bool(doubted),
        forecast={
            figure.value: Expected(told.value, told.low, told.high, told.now, told.direction_only, told.direction)
            for figure, told in prediction.figures.items()
        },
        chance=chance,
        confidence=round(candidate.finding.confidence * chance, 2),
    )


def _effects(prediction: Prediction) -> tuple[Effect, ...]:
    """Ratios of the draws after the change to the same ones today, the greatest improvement first.

    In a ratio the twin's own error cancels out as far as it is the same before and after: that it is not, widens it.
    """
    errors = np.exp(MODEL_ERROR * np.random.default_rng(len(prediction.runs)).standard_normal(len(prediction.runs)))
    found = []
    for figure, (metric, better) in _TOLD.items():
        pairs = [(run.figures.get(figure), now.figures.get(figure)) for run, now in _both(prediction)]
        drawn = zip(pairs, errors.tolist(), strict=True)
        ratios = [after / now * error for (after, now), error in drawn if after is not None and now]
        if not ratios:
            continue
        low, middle, high = (float(q) for q in np.quantile(ratios, (0.05, 0.5, 0.95)))
        low, high = wider(middle, (low, high), prediction.widening)
        basis = FORECAST_DIRECTION if prediction.figures[figure].direction_only else FORECAST
        found.append((better * log(max(middle, 1e-9)), Effect(metric, low, high, basis)))
    return tuple(effect for _, effect in sorted(found, key=lambda one: -one[0]))


def _both(prediction: Prediction) -> Iterator[tuple[Run, Run]]:
    return zip(prediction.runs, prediction.today, strict=True)


def _replicas(forecaster: Forecaster, objectives: Sequence[Objective]) -> int | None:
    """The smallest of a few numbers of replicas, each with its share of the load, that keeps the objectives; without
    any that the twin plays, that leaves hardly anybody waiting."""
    of = forecaster.of
    for times in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, MOST_REPLICAS):
        share = Load(scale=1 / times).of(of.demand)
        runs = [forecaster.after(turn, of.server, share) for turn in range(REPLICAS_DRAWS)]
        holding = [_holding(runs, of_each(objective, times)) for objective in objectives]
        played = [one for one in holding if one is not None]
        waiting = float(np.median([run.figures[Figure.WAITING] for run in runs]))
        if all(one >= KEPT for one in played) if played else waiting < 1:
            return times
    return None


def of_each(objective: Objective, replicas: int) -> Objective:
    """What is left of an objective for each of so many replicas: throughput and queues are told of all together."""
    together = objective.metric in (SloMetric.THROUGHPUT, SloMetric.QUEUE_SIZE)
    return replace(objective, target=objective.target / replicas) if together else objective
