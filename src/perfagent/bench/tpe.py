"""Optuna's sampler among the ways to look for the best setting. Needs the extra `bench`."""

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution

from perfagent.bench.tuning import MOST_TRIALS, SEATS, TOKENS, Found, Problem, Setting, best_measured, measured

START_UP = 2
"""Settings that are drawn before anything is learned. The default, ten, is more than there are trials."""


def by_tpe(of: Problem, seed: int) -> Found:
    """Tree-structured Parzen estimators (Bergstra and others, NeurIPS 2011), told what the start measured."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space: dict[str, BaseDistribution] = {
        "seats": IntDistribution(SEATS.start, SEATS.stop - 1),
        "tokens": IntDistribution(TOKENS.start, TOKENS.stop - 1),
    }
    luck = int(np.random.default_rng([10, of.number, seed]).integers(1 << 31))
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=luck, n_startup_trials=START_UP)
    )
    start = {"seats": of.start[0].bit_length() - 1, "tokens": of.start[1].bit_length() - 1}
    study.add_trial(optuna.trial.create_trial(params=start, distributions=space, value=measured(of, of.start, seed)))
    tried = list[Setting]()
    for _ in range(MOST_TRIALS):
        trial = study.ask(space)
        setting = (2 ** trial.params["seats"], 2 ** trial.params["tokens"])
        tried.append(setting)
        study.tell(trial, measured(of, setting, seed))
    return best_measured(of, seed, tried)
