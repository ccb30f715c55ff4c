"""What an optimizer hands in before the engine's table has had its say."""

from collections.abc import Mapping
from dataclasses import dataclass

from perfagent.domain.finding import Finding
from perfagent.domain.knob import EffectiveConfig, Knob, KnobValue
from perfagent.domain.proposal import Effect, Optimizer

RULE_OF_THUMB = "rule of thumb"


@dataclass(frozen=True, slots=True)
class Case:
    """What an optimizer is asked about: one finding, the window's main figures, and how the server is set."""

    finding: Finding
    figures: Mapping[str, float]
    config: EffectiveConfig


@dataclass(frozen=True, slots=True)
class Draft:
    """A candidate change. `alternatives` are spellings of one value; the first that the release takes is used."""

    optimizer: Optimizer
    knob: Knob
    alternatives: tuple[KnobValue, ...]
    description: str
    effects: tuple[Effect, ...]
    risks: tuple[str, ...]
    confidence: float
    """0–1: how often the rule behind it is right, before the finding's own confidence."""
