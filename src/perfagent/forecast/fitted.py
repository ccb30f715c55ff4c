"""The twin's constants for one replica, from its own window: what its steps take, and what lies outside of them."""

from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, log
from statistics import median

from perfagent.domain.errors import InvalidInput
from perfagent.domain.machine import CPU, Machine
from perfagent.domain.metric import Metric
from perfagent.domain.window import Window, levels, observed
from perfagent.forecast.accounting import accounts
from perfagent.forecast.demand import Demand
from perfagent.forecast.server import Server
from perfagent.twin.belief import Belief
from perfagent.twin.data_types import DataTypes
from perfagent.twin.fit import Fit, fit
from perfagent.twin.gpus import gpu
from perfagent.twin.hardware import PROCESSOR, Hardware, prior
from perfagent.twin.interval import Interval, merged

WORST_RESIDUAL = 0.10
"""Beyond it the twin does not describe this server. Source: the feasibility study that the twin is built on."""
CLOCKS_APART = 5.0
"""Gaps between tokens are a step long, or a few where prompts go first; beyond this factor they are something else."""
FEWEST_STRETCHES = 5
"""Whose median is told; fewer may all lie in the start."""
SOME_FRONT_END = (0.005, 1.0)
"""Median in seconds and standard deviation of its logarithm where no stretch tells: parsing, tokenizing and two hops
between processes take some milliseconds. An assumption without a source, wide on purpose, and said with the answer."""


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """What a request spends outside the scheduler before its first token: median seconds, and how sure that is."""

    seconds: float
    log_sd: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the window says about this replica's speed."""

    fit: Fit
    front_end: FrontEnd
    notes: tuple[str, ...]


def fitted(window: Window, server: Server, demand: Demand, before: Belief | None = None) -> Fitted:
    """Step time and front end that explain the window; `before` is what was believed of such replicas until now.

    Raises `InvalidInput` where the replica was never surely busy, or the twin does not describe what it did.
    """
    rows = accounts(window, server.rules, demand.pairs_per_token)
    _check_clocks(window, rows)
    expected = expectation(server.machine, server.types)
    found = fit(merged(rows), before or expected)
    if found is None:
        raise InvalidInput(
            "the server was never busy enough in this window to tell how long its steps take: watch it under load"
        )
    if found.residual_ratio > WORST_RESIDUAL:
        raise InvalidInput(
            f"the twin explains this server's time only to {found.residual_ratio:.0%}: it would predict something else"
        )
    front_end = _front_end(window, rows)
    notes = [] if front_end else ["the time outside the scheduler cannot be told from this window: some milliseconds"]
    found = replace(found, pinned=_pinned(found.belief, expected))
    return Fitted(found, front_end or FrontEnd(*SOME_FRONT_END), tuple(notes))


def _check_clocks(window: Window, rows: list[Interval]) -> None:
    """Raises `InvalidInput` where a step by our clock and a gap between tokens by the server's cannot both be right."""
    gaps, busy = observed(window, Metric.ITL), [row for row in rows if row.busy and row.decode_tokens]
    if gaps is None or not gaps.mean or not busy:
        return
    step_s = sum(row.busy_s for row in busy) / sum(row.steps for row in busy)
    if not 1 / CLOCKS_APART < gaps.mean / step_s < CLOCKS_APART:
        raise InvalidInput(
            f"a step takes {1000 * step_s:.3g} ms between scrapes, but tokens come {1000 * gaps.mean:.3g} ms apart by "
            "the server: one of the clocks is wrong"
        )


def _pinned(belief: Belief, expected: Belief) -> frozenset[str]:
    """Constants of which measurements have at least halved the uncertainty."""
    return frozenset(name for name, sd in belief.log_sd.items() if sd <= expected.log_sd[name] / 2)


def expectation(machine: Machine, types: DataTypes) -> Belief:
    """What to believe before any measurement, by data sheet and model shape as far as they are known."""
    shape = (
        None
        if machine.shape is None
        else replace(
            machine.shape,
            weight_bytes=machine.shape.weight_bytes * types.weight_bytes / DataTypes().weight_bytes,
            kv_bytes=types.kv_bytes,
        )
    )
    return prior(shape, _hardware(machine))


def _hardware(machine: Machine) -> Hardware | None:
    if machine.gpu is None:
        return None
    if machine.gpu == CPU:
        return PROCESSOR
    one = gpu(machine.gpu).hardware
    return Hardware(one.bandwidth_bytes_per_s * machine.gpus, one.peak_flop_per_s * machine.gpus)


def _front_end(window: Window, rows: list[Interval]) -> FrontEnd | None:
    """By the engine's own timers, where nobody waited: time to first token less queue, less the prompt's steps, less
    the mean rest of the step under way at arrival."""
    steps = sum(row.steps for row in rows)
    step_s = sum(row.busy_s for row in rows if row.busy) / max(sum(row.steps for row in rows if row.busy), 1.0)
    told = []
    for a, b in pairwise(window.snapshots):
        stretch = Window((a, b))
        waiting, running = (levels(stretch, metric) for metric in (Metric.WAITING, Metric.RUNNING))
        timers = [observed(stretch, metric) for metric in (Metric.TTFT, Metric.QUEUE_TIME, Metric.PREFILL_TIME)]
        means = [timer.mean for timer in timers if timer is not None and timer.mean is not None]
        if any(n for _, n in waiting) or not running or len(means) < len(timers):
            continue
        busy = 1 - exp(-sum(n for _, n in running) / len(running))
        told.append(means[0] - means[1] - means[2] - busy * step_s / 2)
    if not steps or len(told) < FEWEST_STRETCHES or median(told) <= 0:
        return None
    middle = median(told)
    spread = 1.48 * median(abs(each - middle) for each in told) / len(told) ** 0.5
    return FrontEnd(middle, max(0.05, log(1 + spread / middle)))
