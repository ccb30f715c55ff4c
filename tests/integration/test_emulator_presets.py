"""Presets are what their names say, for every engine."""

from dataclasses import replace

import pytest

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Knob, KnobValue
from perfagent.domain.metric import Metric
from perfagent.emulator.clients import Seen
from perfagent.emulator.fleet import Fleet
from perfagent.emulator.presets import PRESETS, fleet, preset
from support.fleets import process, scalar, snapshot

ENGINES = ("vllm", "sglang", "tgi")


def after_two_minutes(name: str, engine: str, **knobs: KnobValue) -> Fleet:
    chosen = preset(name)
    changed = {**chosen.knobs, **{Knob(knob): value for knob, value in knobs.items()}}
    of = fleet(replace(chosen, knobs=changed), engine=engine, replicas=1, seed=3)
    of.advance(120)
    return of


def lately(of: Fleet) -> Seen:
    return of.seen(60, 120)


@pytest.mark.parametrize("engine", ENGINES)
def test_healthy_answers_at_once(engine: str) -> None:
    of = after_two_minutes("healthy", engine)
    told = lately(of)
    assert told.ttft_mean_s is not None
    assert told.ttft_mean_s < 0.15
    assert (told.gave_up, told.refused) == (0, 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_batch_limit_queues_beside_an_empty_cache_and_64_seats_heal_it(engine: str) -> None:
    of = after_two_minutes("batch-limit", engine)
    assert scalar(snapshot(of), Metric.RUNNING) == 8
    assert scalar(snapshot(of), Metric.WAITING) > 50
    assert process(of).kv_usage < 0.05
    healed = after_two_minutes("batch-limit", engine, max_num_seqs=64)
    assert scalar(snapshot(healed), Metric.WAITING) == 0
    assert lately(healed).gave_up == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_kv_starved_fills_its_cache_below_any_batch_limit_and_memory_heals_it(engine: str) -> None:
    of = after_two_minutes("kv-starved", engine)
    assert process(of).waiting > 20
    assert process(of).running < 40
    if engine != "tgi":  # reserves ahead: part of its cache is kept for later
        assert process(of).kv_usage > 0.9
    healed = after_two_minutes("kv-starved", engine, gpu_memory_utilization=0.9 if engine != "sglang" else 0.8)
    assert process(healed).waiting == 0


def test_kv_starved_preempts_on_vllm() -> None:
    assert scalar(snapshot(after_two_minutes("kv-starved", "vllm")), Metric.PREEMPTIONS) > 5


@pytest.mark.parametrize("engine", ENGINES)
def test_prefill_budget_is_late_with_first_tokens_and_larger_steps_heal_it(engine: str) -> None:
    late = lately(after_two_minutes("prefill-budget", engine)).ttft_mean_s
    healed = lately(after_two_minutes("prefill-budget", engine, max_num_batched_tokens=2048)).ttft_mean_s
    assert late is not None
    assert healed is not None
    assert late > 1.4 * healed


def test_every_preset_says_what_it_is() -> None:
    assert all(one.name == name and one.description for name, one in PRESETS.items())
    with pytest.raises(InvalidInput, match="unknown preset 'sunny'; there are healthy, batch-limit"):
        preset("sunny")
