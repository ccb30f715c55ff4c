"""Whatever the twin is asked about would start: held against emulated servers, whose memory is worked out from scratch.

`pytest --hypothesis-profile=thorough` draws 12,500 situations.
"""

import numpy as np
from hypothesis import settings

from perfagent import engines
from perfagent.bench.scenario import pick
from perfagent.domain.errors import InvalidInput
from perfagent.domain.finding import Cause, Diagnosis, Evidence, Finding, Severity, Symptom
from perfagent.domain.knob import Knob, KnobValue, LaunchConfig, change_of
from perfagent.domain.machine import Machine as Told
from perfagent.domain.metric import Metric
from perfagent.emulator import Machine, gpu, model
from perfagent.emulator.setup import StartFailed, prepare
from perfagent.forecast.server import Server, changed, data_types
from perfagent.optimizers.candidates import TUNABLE, candidates
from perfagent.twin.data_types import DataTypes

SITUATIONS = 25 * settings().max_examples
RELEASES = {"vllm": ("0.26.0", "0.33.0"), "sglang": ("0.5.12", "0.5.23"), "tgi": ("3.3.7",)}
GPUS = ("b200", "h200", "h100", "a100-80", "a100-40", "l40s", "l4", "a10")


def drawn(rng: np.random.Generator) -> tuple[Machine, LaunchConfig]:
    """A server that may or may not start."""
    engine = pick(rng, tuple(RELEASES))
    machine = Machine(
        engine, pick(rng, RELEASES[engine]), gpu(pick(rng, GPUS)), model(pick(rng, ("llama-3.1-8b", "qwen2.5-14b")))
    )
    knobs: dict[Knob, KnobValue] = {Knob.MAX_MODEL_LEN: pick(rng, (2048, 4096, 8192, 16_384))}
    if rng.random() < 0.5:
        knobs[Knob.MAX_NUM_SEQS] = int(2 ** rng.integers(0, 11))
    if rng.random() < 0.5:
        knobs[Knob.MAX_NUM_BATCHED_TOKENS] = int(2 ** rng.integers(9, 15))
    if rng.random() < 0.5:
        knobs[Knob.GPU_MEMORY_UTILIZATION] = round(float(rng.uniform(0.3, 0.95)), 2)
    base = LaunchConfig(() if machine.habits.metrics_flag is None else (machine.habits.metrics_flag,))
    known = {knob: value for knob, value in knobs.items() if engines.supports(engine, knob, machine.release)}
    return machine, engines.render(engine, base, change_of(known), machine.release)


def test_every_candidate_that_is_played_would_start() -> None:
    played = refused = 0
    for number in range(SITUATIONS):
        rng = np.random.default_rng([4, number])
        machine, launch = drawn(rng)
        try:
            setup = prepare(machine, launch)
        except StartFailed:
            continue
        tokens = float((setup.rules.kv_blocks + machine.habits.spare_blocks) * setup.rules.block_size)
        told = Told(machine.gpu.name, 1, machine.model.shape)
        types = data_types(setup.values) or DataTypes()
        config = engines.effective(machine.engine, launch, {}, {}, machine.release)
        given = {knob: setting.value for knob, setting in config.settings.items()}
        server = Server(machine.engine, machine.release, told, launch, given, setup.values, types, tokens, ())
        cause = pick(rng, sorted(TUNABLE))
        for candidate in candidates(diagnosis(cause, setup.rules.seats, rng), config, server):
            try:
                changed(server, candidate.change)
            except InvalidInput:
                refused += 1
                continue
            engines.check(machine.engine, candidate.change, config)
            prepare(machine, engines.render(machine.engine, launch, candidate.change, machine.release))
            played += 1
    assert played > 5 * SITUATIONS
    assert refused > 0


def diagnosis(cause: Cause, limit: float, rng: np.random.Generator) -> Diagnosis:
    """One finding, with figures as different servers show them."""
    evidence = (Evidence(Metric.RUNNING, "mean while others wait", limit, limit, "running below the limit"),)
    found = Finding(cause, Symptom.QUEUE_BUILDUP, Severity.HIGH, 0.9, "r1", "…", evidence)
    figures = {
        "arrivals_per_s": float(rng.uniform(1, 50)),
        "finished_per_s": float(rng.uniform(1, 50)),
        "e2e_mean_s": float(rng.uniform(5, 30)),
        "queue_mean_s": float(rng.uniform(0, 5)),
        "running_mean": float(rng.uniform(1, 200)),
        "kv_usage_mean_ratio": float(rng.uniform(0.01, 1)),
    }
    return Diagnosis("r1", "window", 0, 60, (found,), (), 50.0, figures)
