"""An answer to a finding: exact knob values, the flags that set them, and what to expect."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from perfagent.domain.finding import Cause
from perfagent.domain.knob import Change
from perfagent.domain.metric import Metric


class Optimizer(StrEnum):
    """The families of changes."""

    KV_CACHE = "kv_cache"
    QUANTIZATION = "quantization"
    BATCHING = "batching"


FORECAST = "the twin"
"""Basis of an effect whose size the twin tells."""
FORECAST_DIRECTION = "the twin, near a critical load: direction only"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change should do to one metric: new value / old value, as a range."""

    metric: Metric
    low_ratio: float
    high_ratio: float
    basis: str
    """Where the range comes from: a rule of thumb (named), or the twin."""

    @property
    def direction(self) -> str:
        """`down`, `up`, or `either` where the range includes no change."""
        if self.high_ratio < 1:
            return "down"
        return "up" if self.low_ratio > 1 else "either"


@dataclass(frozen=True, slots=True)
class Expected:
    """One figure after the change, as a forecast tells it, with the interval that holds it nine times out of ten."""

    value: float
    low: float
    high: float
    now: float | None
    """As measured; None where the engine does not tell."""
    direction_only: bool
    """So near a critical load that only the direction is told."""
    direction: str
    """`up`, `down`, or `either` where the interval holds today's value; `unknown` where nothing tells that."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One change that answers one finding, ready to be rolled out."""

    optimizer: Optimizer
    cause: Cause
    change: Change
    prior: Change
    """The same knobs as they are now, as far as known."""
    flags: tuple[str, ...]
    """How this engine and release spell the change on the command line (or `NAME=value` for an environment)."""
    description: str
    effects: tuple[Effect, ...]
    """The first one is the improvement the change is made for."""
    risks: tuple[str, ...]
    needs_approval: bool
    """True for what may alter answers, and for what is not surely for the better."""
    confidence: float
    priority: int
    """1 is first."""
    forecast: Mapping[str, Expected] = field(default_factory=dict)
    """By the figure's name; empty where only rules of thumb say what to expect."""
    chance: float | None = None
    """Share of the forecast's draws in which the change is for the better; None without a forecast."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do when no configuration change can help."""

    cause: Cause
    text: str
