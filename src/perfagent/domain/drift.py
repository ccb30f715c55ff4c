"""What changed against a service's own past, or against what was told of it."""

from dataclasses import dataclass
from enum import StrEnum

from perfagent.domain.knob import Knob, KnobValue


class Figure(StrEnum):
    """What is compared with the past, the unit at the end of each name."""

    ARRIVALS = "finished_per_s"
    PROMPT = "prompt_tokens_mean"
    ANSWER = "answer_tokens_mean"
    REUSE = "prefix_hit_ratio"
    TTFT = "ttft_mean_s"
    ITL = "itl_mean_s"

    @property
    def of_workload(self) -> bool:
        """True for what is asked of a service, False for how quickly it answers."""
        return self not in (Figure.TTFT, Figure.ITL)


@dataclass(frozen=True, slots=True)
class Drift:
    """A figure of the last hour that is unlike the same figure before."""

    figure: Figure
    usual: float
    """Median of the hours that it is held against."""
    now: float
    sds: float | None
    """Robust standard deviations between the two; None where it never varied."""
    hours: int
    """How many hours it is held against."""
    same_hour: bool
    """Whether these are the same hour of earlier weeks; otherwise all hours."""


@dataclass(frozen=True, slots=True)
class ConfigDrift:
    """A setting of one replica that is not what it should be."""

    target: str
    knob: Knob
    in_force: KnobValue
    expected: KnobValue
    """What its flags say, or what most of its peers are set to."""
    because: str
    """Whose word the expected value is."""


@dataclass(frozen=True, slots=True)
class Drifts:
    """What changed, and how much of the past it was held against."""

    figures: tuple[Drift, ...]
    settings: tuple[ConfigDrift, ...]
    hours: int
    """Hours of the past that are known."""
    enough: bool
    """Whether these are enough to call anything usual."""
