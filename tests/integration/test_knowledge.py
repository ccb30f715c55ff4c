from dataclasses import replace

import numpy as np
import pytest

from perfagent.domain.learned import Learned
from perfagent.domain.machine import Machine
from perfagent.forecast.fitted import expectation
from perfagent.forecast.knowledge import HALF_LIFE_S, key_of, learned_from, recall
from perfagent.forecast.predict import case
from perfagent.twin.belief import Belief
from perfagent.twin.data_types import DataTypes
from support import fleets, watched

SEEN = watched.known("--max-num-seqs=12", rate_per_s=4.0)

PRIOR = expectation(watched.L40S, DataTypes())


def kept(at_s: float = 0.0) -> Learned:
    return learned_from(SEEN.fitted.fit, at_s, None)


def test_what_was_learned_is_believed_as_it_was() -> None:
    again = recall(kept(), 0.0, PRIOR)
    assert again.step_time == SEEN.fitted.fit.belief.step_time
    assert again.log_covariance == pytest.approx(SEEN.fitted.fit.belief.log_covariance)


def test_what_was_learned_fades_and_never_below_what_data_sheets_say() -> None:
    fresh, week, years = (recall(kept(), age * HALF_LIFE_S, PRIOR).log_sd for age in (0, 1, 500))
    for name, sd in PRIOR.log_sd.items():
        assert week[name] == pytest.approx(min(sd, 2**0.5 * fresh[name]))
        assert years[name] == pytest.approx(sd)
    recall(kept(), 500 * HALF_LIFE_S, PRIOR).draws(np.random.default_rng(0))  # still a covariance


def test_a_clock_that_went_back_makes_nobody_surer() -> None:
    assert recall(kept(1000.0), 0.0, PRIOR).log_sd == recall(kept(1000.0), 1000.0, PRIOR).log_sd


def test_another_load_adds_to_what_a_first_one_told() -> None:
    """Light load pins the base, a full batch what hangs on the batch."""

    def recalled(_: object) -> Belief:
        return recall(kept(), 0.0, PRIOR)

    flags = ("--max-num-seqs=64",)
    window = watched.window(*flags, rate_per_s=12.0)
    launch = fleets.launch(watched.EMULATED, *flags)
    alone = case(window, watched.config(*flags), launch, watched.L40S).fitted.fit
    both = case(window, watched.config(*flags), launch, watched.L40S, recalled).fitted.fit
    for name, sd in both.belief.log_sd.items():
        assert sd <= alone.belief.log_sd[name] * 1.001, name
    assert sum(both.belief.log_sd.values()) < 0.95 * sum(alone.belief.log_sd.values())
    assert both.pinned >= alone.pinned
    assert learned_from(both, 5.0, kept()).windows == 2


def test_servers_are_alike_by_engine_release_hardware_model_and_data_types() -> None:
    server, window = SEEN.server, SEEN.window
    mine = key_of(server, window, "chat")
    assert key_of(replace(server, values={**server.values}), window, "other") == mine  # the page tells the model
    others = [
        replace(server, release="0.1.0"),
        replace(server, machine=Machine("h100", 1, server.machine.shape)),
        replace(server, machine=Machine("l40s", 2, server.machine.shape)),
        replace(server, types=DataTypes(weight_bytes=1.0)),
        replace(server, types=DataTypes(kv_bytes=1.0)),
        replace(server, engine="sglang"),
    ]
    keys = {key_of(other, window, "chat") for other in others}
    assert len(keys) == len(others)
    assert mine not in keys


def test_where_no_page_tells_the_model_it_is_the_services() -> None:
    bare = replace(SEEN.window, snapshots=(replace(SEEN.window.snapshots[-1], scalars={}),))
    assert key_of(SEEN.server, bare, "chat") != key_of(SEEN.server, bare, "batch")
