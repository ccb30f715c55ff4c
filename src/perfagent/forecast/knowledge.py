"""What was learned of servers alike, kept from window to window: one window pins the base, others what hangs on load.

Servers are alike when engine, release, hardware, model and data types are. What was learned fades: drivers and
neighbours change.
"""

from collections.abc import Callable
from dataclasses import astuple, replace
from itertools import product

import numpy as np

from perfagent.domain.learned import Learned
from perfagent.domain.window import Window
from perfagent.forecast.fitted import expectation
from perfagent.forecast.server import Server
from perfagent.twin.belief import Belief
from perfagent.twin.data_types import SIZES, DataTypes
from perfagent.twin.fit import Fit
from perfagent.twin.step_time import StepTime

HALF_LIFE_S = 7 * 24 * 3600.0
"""After which variances have doubled: what was learned a week ago is worth half as many windows. A choice."""
OVERLAP = 2.0
"""Variances of what was learned from a window that the next question may hold again: counted twice it weighs once."""


def key_of(server: Server, window: Window, service: str) -> str:
    """What servers are alike by; the model's name is the service's where no page tells it."""
    names = {
        value
        for series in window.snapshots[-1].scalars.values()
        for labels in series
        for label, value in labels
        if label == "model_name"
    }
    model = names.pop() if len(names) == 1 else f"service {service}"
    machine, types = server.machine, server.types
    shape = machine.shape
    size = "?" if shape is None else f"{shape.params:g}/{shape.layers}/{shape.kv_heads}/{shape.head_dim}"
    hardware = f"{machine.gpus} x {machine.gpu or '?'}"
    numbers = f"{types.weight_bytes:g}/{types.kv_bytes:g}"
    return f"{server.engine} {server.release or '?'}, {hardware}, {model} {size}, {numbers}"


def kin(
    get: Callable[[str], Learned | None], server: Server, window: Window, service: str, now_s: float
) -> dict[DataTypes, Belief]:
    """What is still believed of such servers, by their data types; `get` tells what was learned under a key."""
    found = {}
    for types in map(DataTypes, *zip(*product(SIZES, SIZES), strict=True)):
        learned = get(key_of(replace(server, types=types), window, service))
        if learned is not None:
            found[types] = recall(learned, now_s, expectation(server.machine, types))
    return found


def recall(learned: Learned, now_s: float, prior: Belief) -> Belief:
    """What is still believed of it; never less sure of a constant than before anything was measured."""
    covariance = np.array(learned.log_covariance) * 2 ** (max(0.0, now_s - learned.at_s) / HALF_LIFE_S)
    excess = np.sqrt(np.maximum(1.0, np.diag(covariance) / np.diag(prior.log_covariance)))
    return Belief(StepTime(*learned.constants), covariance / np.outer(excess, excess))


def learned_from(fit: Fit, at_s: float, before: Learned | None) -> Learned:
    """What to keep after one more window."""
    return Learned(
        astuple(fit.belief.step_time),
        tuple(tuple(float(value) for value in row) for row in fit.belief.log_covariance),
        at_s,
        1 if before is None else before.windows + 1,
    )
