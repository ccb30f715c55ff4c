"""Ways to look for the best setting of an emulated server: ours, simpler ones of our own, and what others do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np

from perfagent import engines
from perfagent.analysis import diagnose
from perfagent.bench.tuning import (
    GRID,
    MOST_TRIALS,
    RELEASE,
    Method,
    Problem,
    Setting,
    measured,
    watched_trial,
)
from perfagent.domain.errors import AgentError
from perfagent.domain.finding import Cause, Diagnosis, Finding, Severity, Symptom
from perfagent.domain.knob import Change, EffectiveConfig, Knob, LaunchConfig
from perfagent.domain.machine import Machine
from perfagent.domain.window import Window
from perfagent.forecast import Forecaster, case
from perfagent.optimizers import TUNABLE, Effort, propose, search
from perfagent.twin.belief import Belief

COARSE: tuple[Setting, ...] = tuple((seats, tokens) for tokens in (2048, 8192) for seats in (16, 64, 256, 1024))
"""What one would try by hand."""
EFFORT = Effort(screening=6, finalists=2, doubtful=0, draws=24)


@dataclass(frozen=True, slots=True)
class _Trial:
    """What an agent sees of a trial."""

    window: Window
    launch: LaunchConfig
    config: EffectiveConfig
    diagnosis: Diagnosis


def by_twin(of: Problem, seed: int, most: int | None = None) -> list[Setting]:
    """Look at the metrics, ask the twin, try its first proposal, and again until it has none that is new.

    Where it proposes nothing it may tell what would serve more at an objective's risk: in a trial that is tried too.
    """
    learned = list[Belief]()

    def asked(trial: _Trial) -> Sequence[Change]:
        told = Machine(of.sheet, 1, of.machine.model.shape)
        try:
            known = case(trial.window, trial.config, trial.launch, told, lambda _: learned[-1] if learned else None)
        except AgentError:
            return ()
        learned.append(known.fitted.fit.belief)
        tuned = search(_to_tune(trial.diagnosis), trial.config, Forecaster(known), of.objectives, effort=EFFORT)
        return [*(one.change for one in tuned.proposals), *([tuned.held_back] if tuned.held_back else [])]

    return _walk(of, seed, asked, MOST_TRIALS if most is None else most)


def in_one_shot(of: Problem, seed: int) -> list[Setting]:
    """The twin's first proposal, and no more."""
    return by_twin(of, seed, 1)


def by_rules(of: Problem, seed: int) -> list[Setting]:
    """The same walk with our rules of thumb in the twin's place."""
    return _walk(
        of, seed, lambda trial: [one.change for one in propose(trial.diagnosis, trial.config, "vllm")], MOST_TRIALS
    )


def doubling(of: Problem, seed: int) -> list[Setting]:
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
    return tried


def at_random(of: Problem, seed: int) -> list[Setting]:
    """As many settings as there are trials, drawn."""
    rng = np.random.default_rng([8, of.number, seed])
    return [GRID[index] for index in rng.choice(len(GRID), min(MOST_TRIALS, len(GRID)), replace=False)]


def by_hand(_: Problem, __: int) -> list[Setting]:
    """The same eight settings for everybody."""
    return list(COARSE)


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


def _walk(of: Problem, seed: int, ask: Callable[[_Trial], Sequence[Change]], most: int) -> list[Setting]:
    """Try the first of the changes that is new, until there is none."""
    tried = [of.start]
    for _ in range(most):
        changes = ask(_trial(of, tried[-1], seed))
        then = next((then for one in changes if (then := _applied(one, tried[-1])) not in (None, *tried)), None)
        if then is None:
            break
        tried.append(then)
    return tried[1:]


def _trial(of: Problem, setting: Setting, seed: int) -> _Trial:
    window, launch = watched_trial(of, setting, seed)
    config = engines.effective("vllm", launch, window.snapshots[-1].info, {}, RELEASE)
    return _Trial(window, launch, config, diagnose(window, config))


def _to_tune(diagnosis: Diagnosis) -> Diagnosis:
    """Where nothing is wrong an agent leaves a server alone. Here it is asked to go on, as if there were too much."""
    if any(one.cause in TUNABLE for one in diagnosis.findings):
        return diagnosis
    asked = Finding(Cause.OVERLOAD, Symptom.QUEUE_BUILDUP, Severity.LOW, 1.0, "trial", "Somebody asks to tune it.", ())
    return replace(diagnosis, findings=(asked, *diagnosis.findings))


def _applied(change: Change, now: Setting) -> Setting | None:
    values = dict(change)
    if not set(values) <= {Knob.MAX_NUM_SEQS, Knob.MAX_NUM_BATCHED_TOKENS}:
        return None
    seats, tokens = values.get(Knob.MAX_NUM_SEQS, now[0]), values.get(Knob.MAX_NUM_BATCHED_TOKENS, now[1])
    return int(seats), int(tokens)
