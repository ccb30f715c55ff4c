"""What changes do to the replicas that run them: the ways in which one may harm, and good ones.

Sizes are drawn anew for every rollout. Nobody has published how often which harm occurs, so shares and sizes are
assumptions, chosen before anything was played.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf, log

import numpy as np

from perfagent.domain.knob import Change, Knob
from perfagent.emulator.answers import Errors

MINUTE_S = 60.0
AS_BEFORE = Errors()


class Truth(StrEnum):
    """What should become of a change."""

    GOOD = "good"
    HARMFUL = "harmful"
    INNOCENT = "innocent"
    """It does nothing, but something else harms the replica that has it first."""


class Start(StrEnum):
    """What a process with the change does when it is started."""

    SERVES = "serves"
    EXITS = "exits"
    """Its actuator sees it end."""
    LOOPS = "loops"
    """It dies and is started again, for ever: all that is seen is that it does not become ready."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What a change does to one replica. Factors are on latencies; 1 is nothing."""

    ttft: float = 1.0
    itl: float = 1.0
    growth_per_min: float = 0.0
    """Of the log of both, from each start on."""
    slow_share: float = 0.0
    """Of requests that are slow."""
    slow_times: float = 1.0
    """How many times as slow these are."""
    failing: float = 0.0
    """Share of requests that fail, besides those that always do."""
    start: Start = Start.SERVES
    life_s: float = inf
    """How long each process serves before it crashes."""
    neighbour: float = 1.0
    """What somebody else on the first replica's machine does to its latencies once it has the change."""
    neighbour_s: float = 0.0
    """For how long."""
    answers: Errors = AS_BEFORE
    """How far answers stray from those before."""


MORE_AT_ONCE: Change = ((Knob.MAX_NUM_SEQS, 64),)
FEWER_BITS: Change = ((Knob.KV_CACHE_DTYPE, "fp8"),)
"""May alter answers, so replicas are asked."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Changes alike."""

    name: str
    truth: Truth
    per_hundred: int
    """So many of a hundred rollouts."""
    draw: Callable[[np.random.Generator], Deed]
    change: Change = MORE_AT_ONCE
    """What is written into the flags; what it does is drawn."""


KINDS = (
    Kind("no effect", Truth.GOOD, 21, lambda _: Deed()),
    Kind("answers hardly altered", Truth.GOOD, 4, lambda _: Deed(answers=Errors(0.01, 0.005)), FEWER_BITS),
    Kind("10 % quicker", Truth.GOOD, 10, lambda _: Deed(ttft=0.9, itl=0.9)),
    Kind("30 % quicker", Truth.GOOD, 10, lambda _: Deed(ttft=0.7, itl=0.7)),
    Kind("first token 60 % quicker", Truth.GOOD, 10, lambda _: Deed(ttft=0.4)),
    Kind(
        "noisy neighbour",
        Truth.INNOCENT,
        5,
        lambda rng: Deed(neighbour=rng.uniform(1.2, 2.0), neighbour_s=MINUTE_S * rng.uniform(5, 60)),
    ),
    Kind("exits at start", Truth.HARMFUL, 4, lambda _: Deed(start=Start.EXITS)),
    Kind("out of memory at start", Truth.HARMFUL, 4, lambda _: Deed(start=Start.LOOPS)),
    Kind("crashes", Truth.HARMFUL, 4, lambda rng: Deed(life_s=MINUTE_S * rng.uniform(2, 20))),
    Kind("leaks", Truth.HARMFUL, 4, lambda rng: Deed(growth_per_min=log(2) / rng.uniform(10, 60))),
    Kind(
        "slow tail",
        Truth.HARMFUL,
        4,
        lambda rng: Deed(slow_share=rng.uniform(0.02, 0.1), slow_times=rng.uniform(5, 20)),
    ),
    Kind("first token 20 % slower", Truth.HARMFUL, 4, lambda _: Deed(ttft=1.2)),
    Kind("tokens 20 % slower", Truth.HARMFUL, 4, lambda _: Deed(itl=1.2)),
    Kind("first token 50 % slower", Truth.HARMFUL, 2, lambda _: Deed(ttft=1.5)),
    Kind("tokens 50 % slower", Truth.HARMFUL, 2, lambda _: Deed(itl=1.5)),
    Kind(
        "answers spoiled",
        Truth.HARMFUL,
        4,
        lambda rng: Deed(answers=Errors(rng.uniform(0.1, 0.5), rng.uniform(0.05, 0.2))),
        FEWER_BITS,
    ),
    Kind("errors", Truth.HARMFUL, 4, lambda rng: Deed(failing=float(np.exp(rng.uniform(log(0.02), log(0.2)))))),
)

_SLOTS = tuple(kind for kind in KINDS for _ in range(kind.per_hundred))
_STRIDE = 37
"""Has no divisor in common with a hundred, so that neighbours are of different kinds."""


def kind_of(number: int) -> Kind:
    """The kind of the rollout of that number: of every hundred so many are of each kind as it says."""
    return _SLOTS[number * _STRIDE % len(_SLOTS)]
