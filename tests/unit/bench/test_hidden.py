"""What emulated servers do that no forecast knows."""

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from perfagent.bench.hidden import GRAPH, OWN_CONSTANTS, HiddenPace, Physics
from perfagent.twin import StepTime

SHEET = StepTime(0.010, 2e-5, 400.0, 1e-5, 1e-7, 1e-9, 0.001)
ANY = Physics.draw(np.random.default_rng(0))
CALM = replace(ANY, jitter=0.0, sway=0.0, stall_every_s=1e12, tile=64, wave=8)


def pace(physics: Physics, seed: int = 0) -> HiddenPace:
    return HiddenPace(physics, SHEET, np.random.default_rng(seed))


def test_far_from_the_ridge_tokens_cost_what_the_twin_says() -> None:
    """So that constants mean the same, and only what lies between is unlike the twin's form."""
    of = pace(CALM)
    some, more = (of.seconds(tokens, 0, 0, 1.0) for tokens in (64_000, 128_000))
    assert (more - some) / (SHEET.seconds(128_000, 0, 0, 1.0) - SHEET.seconds(64_000, 0, 0, 1.0)) == pytest.approx(
        1.0, rel=0.06
    )
    assert of.seconds(1, 0, 0, 0.0) == pytest.approx(SHEET.base_s, rel=0.1)


def test_around_the_ridge_it_is_slower_than_the_twin_can_be() -> None:
    soft = pace(replace(CALM, corner=1.5))
    sharp = pace(replace(CALM, corner=6.0))
    assert soft.seconds(400, 0, 0, 1.0) > 1.2 * sharp.seconds(400, 0, 0, 1.0)


def test_pieces_of_hardware_are_paid_whole() -> None:
    of = pace(CALM)
    assert of.seconds(1, 0, 0, 0.0) == of.seconds(GRAPH, 0, 0, 0.0)
    assert of.seconds(65, 0, 0, 1.0) == of.seconds(128, 0, 0, 1.0) > of.seconds(64, 0, 0, 1.0)
    alone, full = (of.seconds(n, n, 1000 * n, 0.0) for n in (1, 8))
    assert alone - SHEET.per_sequence_s == pytest.approx(full - 8 * SHEET.per_sequence_s, rel=1e-3)


def test_steps_of_the_same_work_differ_and_some_stall() -> None:
    of = pace(replace(CALM, jitter=0.1, stall_every_s=1.0, stall_s=0.1))
    steps = [of.seconds(8, 8, 1000, 0.0) for _ in range(3000)]
    assert max(steps) > 5 * fmean(steps)
    calm = pace(CALM).seconds(8, 8, 1000, 0.0)
    assert 1.02 * calm < fmean(steps) < 1.5 * calm


def test_the_same_luck_gives_the_same_steps_and_a_slower_machine_slower_ones() -> None:
    first, again, other = pace(ANY, 1), pace(ANY, 1), pace(ANY, 2)
    steps = [of.seconds(8, 8, 1000, 0.0) for of in (first, again, other)]
    assert steps[0] == steps[1] != steps[2]
    slow = pace(replace(CALM, jitter=0.0)).scaled(3.0)
    assert slow.seconds(8, 8, 1000, 0.0) > 2.5 * pace(CALM).seconds(8, 8, 1000, 0.0)


def test_every_server_has_its_own_constants() -> None:
    drawn = [Physics.draw(np.random.default_rng(seed)) for seed in range(50)]
    bases = [one.own(SHEET).base_s / SHEET.base_s for one in drawn]
    assert len(set(bases)) == 50
    assert min(bases) >= 1 / OWN_CONSTANTS
    assert max(bases) <= OWN_CONSTANTS


def test_other_data_types_bring_errors_of_their_own_where_they_change_anything() -> None:
    narrower = replace(SHEET, per_context_token_s=0.76 * SHEET.per_context_token_s)
    then, now = ANY.own(narrower, before=SHEET), ANY.own(SHEET)
    assert replace(then, per_context_token_s=now.per_context_token_s) == now
    assert then.per_context_token_s / now.per_context_token_s == pytest.approx(0.76 * ANY.ratios.per_context_token_s)
    assert ANY.own(SHEET, before=SHEET) == now
