"""The fit is given the accounting of runs of the twin itself, whose constants are known."""

from dataclasses import replace
from functools import cache
from math import log

import numpy as np
import pytest

from perfagent.domain.machine import ModelShape
from perfagent.twin import Lengths, Replica, SchedulerRules, StepTime, Workload
from perfagent.twin.belief import PARAMETERS, Belief
from perfagent.twin.fit import fit
from perfagent.twin.hardware import GPUS, expected, prior
from perfagent.twin.interval import Interval, merged
from unit.twin.trace import Trace

LLAMA_11B = ModelShape(params=11.4e9, layers=40, width=5120, kv_heads=8, head_dim=128)
PRIOR = expected(LLAMA_11B, GPUS["h200"])
TRUE = StepTime(7.2e-3, 3.0e-5, 130, 9e-6, 4.4e-8, 2.8e-9, 1e-3)
RULES = SchedulerRules(max_num_seqs=1024, max_num_batched_tokens=8192, kv_blocks=42_000)


@cache
def accounting(rate_per_s: float, prompt: float, output: float) -> tuple[Interval, ...]:
    """What metrics say every two seconds: exact counters, and gauges seen only at the ends."""
    workload = Workload(((0.0, rate_per_s), (40.0, 0.0)), Lengths(prompt, 0.4), Lengths(output, 0.4))
    requests = list(workload.requests())
    lengths = [request.prompt_tokens for request in requests]
    trace = Trace()
    replica = Replica(RULES, TRUE, trace)
    for request in requests:
        replica.submit(request)
    replica.advance(1.0)
    rows = []
    for to_s in range(3, 40, 2):
        steps, prompts = len(trace.steps), len(trace.ttfts)
        running, waiting, held = replica.running, replica.waiting, replica.kv_usage
        replica.advance(float(to_s))
        new = trace.steps[steps:]
        held = (held + replica.kv_usage) / 2 * RULES.kv_capacity_tokens - (running + replica.running) / 2 * 7.5
        prompt_tokens = sum(step[2] for step in new)
        rows.append(
            Interval(
                seconds=sum(step[1] for step in new),
                steps=len(new),
                decode_tokens=sum(step[3] for step in new),
                prompts=len(trace.ttfts) - prompts,
                prompt_tokens=prompt_tokens,
                prefill_steps=sum(step[2] > 0 for step in new),
                context_tokens=held * len(new),
                pairs=prompt_tokens * sum(n * n for n in lengths) / (2 * sum(lengths)),
                running=min(running, replica.running),
                waiting=min(waiting, replica.waiting),
            )
        )
    return tuple(rows)


def off(found: StepTime, name: str) -> float:
    return abs(log(getattr(found, name) / getattr(TRUE, name)))


def test_several_loads_together_give_the_constants_back() -> None:
    rows = [*accounting(10, 512, 256), *accounting(12, 64, 1024), *accounting(4, 6000, 64), *accounting(14, 1024, 512)]
    found = fit(merged(rows), PRIOR)
    assert found is not None
    assert found.residual_ratio < 0.01
    assert {"base_s", "per_token_s", "per_context_token_s"} <= found.pinned
    for name, within in (("base_s", 0.03), ("per_token_s", 0.1), ("per_context_token_s", 0.15), ("ridge_tokens", 0.3)):
        assert off(found.belief.step_time, name) < within, name


def test_one_healthy_window_pins_the_base_and_leaves_the_rest_to_the_prior() -> None:
    found = fit(merged(accounting(10, 512, 256)), PRIOR)
    assert found is not None
    assert off(found.belief.step_time, "base_s") < 0.06
    assert "base_s" in found.pinned
    assert not found.pinned & {"per_sequence_s", "per_pair_s", "per_context_token_s"}
    assert found.belief.log_sd["per_pair_s"] == pytest.approx(PRIOR.log_sd["per_pair_s"], rel=0.1)


def test_an_engine_that_times_its_prompts_pins_what_such_a_step_costs_more() -> None:
    rows = merged(accounting(10, 512, 256))
    own_s = TRUE.seconds(560, 33, 33 * 640, 560 * 280) * 1.5  # the twin above times no prompts: a clearly slower pass
    timed = [replace(row, timed_prompts=row.prompts, timed_s=row.prompts * own_s) for row in rows]
    without, given = fit(rows, PRIOR), fit(timed, PRIOR)
    assert without is not None
    assert given is not None
    assert "prompt_step_s" not in without.pinned
    assert given.belief.step_time.prompt_step_s > 2 * without.belief.step_time.prompt_step_s
    assert given.belief.log_sd["prompt_step_s"] < without.belief.log_sd["prompt_step_s"]


def test_a_posterior_is_the_prior_of_the_next_window() -> None:
    first = fit(merged(accounting(10, 512, 256)), PRIOR)
    assert first is not None
    second = fit(merged(accounting(12, 64, 1024)), first.belief)
    assert second is not None
    assert all(second.belief.log_sd[name] <= first.belief.log_sd[name] * 1.01 for name in PARAMETERS)
    assert second.belief.log_sd["per_context_token_s"] < 0.7 * PRIOR.log_sd["per_context_token_s"]


def test_one_disturbed_interval_does_not_move_the_fit() -> None:
    rows = merged(accounting(10, 512, 256))
    stalled = [replace(rows[0], seconds=rows[0].seconds * 3), *rows[1:]]
    clean, disturbed = fit(rows, PRIOR), fit(stalled, PRIOR)
    assert clean is not None
    assert disturbed is not None
    assert disturbed.belief.step_time.base_s == pytest.approx(clean.belief.step_time.base_s, rel=0.03)


def test_without_shape_and_hardware_a_busy_server_still_tells_its_base() -> None:
    rows = [*accounting(10, 512, 256), *accounting(12, 64, 1024)]
    found = fit(merged(rows), prior(None, None))
    assert found is not None
    assert off(found.belief.step_time, "base_s") < 0.1
    assert "base_s" in found.pinned


def test_idle_intervals_say_nothing() -> None:
    busy = accounting(10, 512, 256)[5]
    idle = replace(busy, running=1.0, waiting=0.0)
    assert busy.busy
    assert not idle.busy
    assert fit([idle, idle], PRIOR) is None
    assert replace(idle, waiting=3.0).busy
    measured = replace(idle, idle_s=0.5)
    assert measured.busy
    assert measured.busy_s == measured.seconds - 0.5
    assert not replace(busy, steps=0.0).busy
    assert not replace(busy, idle_s=busy.seconds).busy  # by its own clock the engine never worked


def test_a_handful_of_steps_pins_nothing() -> None:
    row = accounting(10, 512, 256)[5]
    handful = Interval(
        seconds=row.seconds / 60,
        steps=3.0,
        decode_tokens=row.decode_tokens / 60,
        prompts=0.0,
        prompt_tokens=0.0,
        prefill_steps=0.0,
        context_tokens=row.context_tokens / 60,
        pairs=0.0,
        running=row.running,
        waiting=row.waiting,
    )
    found = fit([handful], PRIOR)
    assert found is not None
    assert not found.pinned


def test_every_third_interval_disturbed_still_leaves_the_base_where_it_is() -> None:
    rows = merged(accounting(10, 512, 256))
    stalled = [replace(row, seconds=row.seconds * 3) if at % 3 == 0 else row for at, row in enumerate(rows)]
    found = fit(stalled, PRIOR)
    assert found is not None
    assert off(found.belief.step_time, "base_s") < 0.06


def test_short_intervals_are_joined_until_they_hold_enough_prompts() -> None:
    rows = [replace(row, prompts=4.0) for row in accounting(10, 512, 256)[3:10]]
    joined = merged([*rows[:3], replace(rows[3], running=0.0), *rows[4:]], prompts=10)
    assert [row.prompts for row in joined] == [12.0, 12.0]
    assert joined[0].seconds == sum(row.seconds for row in rows[:3])
    assert [row.prompts for row in merged(rows[:2], prompts=10)] == [8.0]


def test_the_data_sheet_gets_the_order_of_magnitude_right() -> None:
    assert all(off(PRIOR.step_time, name) < 2.5 * PRIOR.log_sd[name] for name in PARAMETERS)
    half = expected(replace(LLAMA_11B, weight_bytes=1.0, kv_bytes=1.0), GPUS["h200"]).step_time
    assert half.per_context_token_s == PRIOR.step_time.per_context_token_s / 2
    assert half.base_s < 0.6 * PRIOR.step_time.base_s
    assert half.per_token_s == PRIOR.step_time.per_token_s / 2


def test_draws_vary_as_much_as_the_belief_says() -> None:
    stream = PRIOR.draws(np.random.default_rng(3))
    bases = [log(next(stream).base_s) for _ in range(2000)]
    assert np.std(bases) == pytest.approx(0.2, rel=0.1)
    assert PRIOR.faded(4.0).log_sd["base_s"] == pytest.approx(0.4)
    assert isinstance(PRIOR.faded(4.0), Belief)
