"""What the judge says of one stage: a judgement per metric, and the verdict that follows."""

from dataclasses import dataclass
from enum import StrEnum

from perfagent.domain.metric import Metric


class Verdict(StrEnum):
    """What follows from a stage."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLL_BACK = "roll_back"


class Effectiveness(StrEnum):
    """How the canary's metric stands to the baseline's."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"
    NO_DATA = "no_data"
    UNCLEAR = "unclear"


class Role(StrEnum):
    """Why a metric is judged."""

    PRIMARY = "primary"
    GUARDRAIL = "guardrail"


@dataclass(frozen=True, slots=True)
class Criterion:
    """What a metric must do for the change to go on."""

    metric: Metric
    role: Role
    margin: float
    """How much worse than the baseline is still accepted, as a ratio: 0.15 is 15 % longer (or 15 % less throughput)."""


@dataclass(frozen=True, slots=True)
class PairedWindow:
    """One observation window's raw figures of both arms, kept so that any verdict can be recomputed."""

    start_s: float
    end_s: float
    metric: Metric
    baseline: float | None
    """Exact mean or rate per replica; None when nothing was observed."""
    canary: float | None
    baseline_count: float
    """Observations behind the figure."""
    canary_count: float
    baseline_replicas: int
    """Replicas that contributed to the figure."""
    canary_replicas: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """One metric: canary / baseline with its interval, and what that means."""

    criterion: Criterion
    result: Effectiveness
    ratio: float | None
    """Estimate of canary / baseline, oriented so that more is worse; None without data."""
    low: float | None
    high: float | None
    windows: int
    """Paired windows used."""
    reason: str


@dataclass(frozen=True, slots=True)
class StageVerdict:
    """The decision on one stage, its reasons, and what it was made from."""

    verdict: Verdict
    reasons: tuple[str, ...]
    judgements: tuple[Judgement, ...]
    windows: tuple[PairedWindow, ...]
