"""Ways to look for the best setting of an emulated server: ours, simpler ones of our own, and what others do."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec

import numpy as np

from perfagent import engines
from perfagent.analysis import diagnose
from perfagent.bench.trials import Tried, outlook
from perfagent.bench.tuning import (
    GRID,
    MOST_TRIALS,
    RELEASE,
    TRIAL_S,
    WARM_S,
    Found,
    Method,
    Problem,
    Setting,
    best_measured,
    measured,
    watched_trial,
)
from perfagent.domain.errors import AgentError
from perfagent.domain.finding import Diagnosis
from perfagent.domain.knob import Change, EffectiveConfig, Knob, LaunchConfig, change_of
from perfagent.domain.machine import Machine
from perfagent.domain.window import Window
from perfagent.forecast import Case, Forecaster, case
from perfagent.forecast.demand import Arrivals, Demand
from perfagent.optimizers import propose
from perfagent.twin import Lengths
from perfagent.twin.belief import Belief

COARSE: tuple[Setting, ...] = tuple((seats, tokens) for tokens in (2048, 8192) for seats in (16, 64, 256, 1024))
"""What one would try by hand."""
KNOBS = (Knob.MAX_NUM_SEQS, Knob.MAX_NUM_BATCHED_TOKENS)


@dataclass(frozen=True, slots=True)
class _Trial:
    """What an agent sees of a trial."""

    window: Window
    launch: LaunchConfig
    config: EffectiveConfig
    diagnosis: Diagnosis


@cache
def by_twin(of: Problem, seed: int) -> Found:
    """Look at the metrics, ask the twin what to try next, until it expects nothing of any further trial.

    Each trial's window teaches it, as each window of a service does, unless too little went on. Kept is what it then
    expects most of; it reckons with how much was asked for in each trial.
    """
    setting, seen, tried = of.start, list[Case](), list[Tried]()
    while len(tried) <= MOST_TRIALS:
        with suppress(AgentError):
            seen.append(_seen(of, setting, seed, seen[-1].fitted.fit.belief if seen else None))
        if not seen:
            return Found((), of.start)
        tried.append(Tried(_change(setting), measured(of, setting, seed) / _asked(seen[-1].demand)))
        asker = Forecaster(replace(seen[-1], demand=_together([one.demand for one in seen])))
        ahead = outlook(asker, of.objectives, tried)
        if ahead.following is None:
            break
        setting = _setting(ahead.following)
    return Found(tuple(_setting(one.change) for one in tried[1:]), _setting(ahead.best))


def in_one_shot(of: Problem, seed: int) -> Found:
    """The twin's first trial, and no more."""
    return best_measured(of, seed, by_twin(of, seed).tried[:1])


def by_rules(of: Problem, seed: int) -> Found:
    """Our rules of thumb: try the first of their changes that is new, until there is none."""
    tried = [of.start]
    while len(tried) <= MOST_TRIALS:
        trial = _trial(of, tried[-1], seed)
        applied = [_applied(one.change, tried[-1]) for one in propose(trial.diagnosis, trial.config, "vllm")]
        then = next((each for each in applied if each not in (None, *tried)), None)
        if then is None:
            break
        tried.append(then)
    return best_measured(of, seed, tried[1:])


def doubling(of: Problem, seed: int) -> Found:
    """Twice the seats as long as that measures better, then twice the tokens of a step, then half of them."""
    best, tried = of.start, list[Setting]()
    for seats, tokens in ((2.0, 1.0), (1.0, 2.0), (1.0, 0.5)):
        while len(tried) < MOST_TRIALS:
            then = (int(best[0] * seats), int(best[1] * tokens))
            if then not in GRID or then in tried:
                break
            tried.append(then)
            if measured(of, then, seed) <= measured(of, best, seed):
                break
            best = then
    return best_measured(of, seed, tried)


def at_random(of: Problem, seed: int) -> Found:
    """As many settings as there are trials, drawn."""
    rng = np.random.default_rng([8, of.number, seed])
    drawn = rng.choice(len(GRID), min(MOST_TRIALS, len(GRID)), replace=False)
    return best_measured(of, seed, [GRID[index] for index in drawn])


def by_hand(of: Problem, seed: int) -> Found:
    """The same eight settings for everybody."""
    return best_measured(of, seed, COARSE)


METHODS: Mapping[str, Method] = {
    "twin": by_twin,
    "one shot": in_one_shot,
    "rules": by_rules,
    "doubling": doubling,
    "eight by hand": by_hand,
    "random": at_random,
}


def methods() -> Mapping[str, Method]:
    """All that can be tried here: Optuna is an extra."""
    if find_spec("optuna") is None:
        return METHODS
    from perfagent.bench.tpe import by_tpe

    return {**METHODS, "Optuna TPE": by_tpe}


def _trial(of: Problem, setting: Setting, seed: int) -> _Trial:
    window, launch = watched_trial(of, setting, seed)
    config = engines.effective("vllm", launch, window.snapshots[-1].info, {}, RELEASE)
    return _Trial(window, launch, config, diagnose(window, config))


def _seen(of: Problem, setting: Setting, seed: int, belief: Belief | None) -> Case:
    """What a trial's window tells, on top of what was believed before."""
    trial = _trial(of, setting, seed)
    told = Machine(of.sheet, 1, of.machine.model.shape)
    return case(trial.window, trial.config, trial.launch, told, lambda _: belief)


def _asked(demand: Demand) -> float:
    return demand.rate_per_s * demand.output.mean


def _together(demands: Sequence[Demand]) -> Demand:
    """The same load, watched several times: in the next trial it comes as it came on average, to an empty server.

    Only the benchmark knows that it is the same; an agent's window of a service is longer than a trial.
    """
    observed, until_s = [one.observed for one in demands], WARM_S + TRIAL_S
    rate = float(np.average([one.rate_per_s for one in demands], weights=observed))
    return replace(
        demands[-1],
        arrivals=(Arrivals(0.0, until_s, rate * until_s, counted=False),),
        prompt=_pooled([one.prompt for one in demands], observed),
        output=_pooled([one.output for one in demands], observed),
        present=0.0,
        observed=sum(observed),
        unseen=min(one.unseen for one in demands),
        swing=sum(observed) ** -0.5,
    )


def _pooled(lengths: Sequence[Lengths], observed: Sequence[float]) -> Lengths:
    mean, sigma = np.average([(one.mean, one.sigma) for one in lengths], axis=0, weights=observed).tolist()
    return replace(lengths[-1], mean=mean, sigma=sigma)


def _change(setting: Setting) -> Change:
    return change_of(dict(zip(KNOBS, setting, strict=True)))


def _setting(change: Change) -> Setting:
    values = dict(change)
    seats, tokens = (int(values[knob]) for knob in KNOBS)
    return seats, tokens


def _applied(change: Change, now: Setting) -> Setting | None:
    values = dict(change)
    if not set(values) <= {Knob.MAX_NUM_SEQS, Knob.MAX_NUM_BATCHED_TOKENS}:
        return None
    seats, tokens = values.get(Knob.MAX_NUM_SEQS, now[0]), values.get(Knob.MAX_NUM_BATCHED_TOKENS, now[1])
    return int(seats), int(tokens)
