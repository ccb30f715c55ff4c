"""Fields that several models share: bounded, so that nothing a caller sends grows without end."""

from datetime import UTC, datetime
from enum import StrEnum
from math import inf
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

from perfagent import engines
from perfagent.domain.duration import duration, seconds
from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import Change, Knob, KnobValue, LaunchConfig, change_of
from perfagent.domain.quality import LONGEST_PROMPT, MOST_PROMPTS, Quality
from perfagent.domain.slo import Comparison, Objective, SloMetric, SloStatus, Statistic

EngineName = StrEnum("EngineName", {name.upper(): name for name in engines.ENGINES})  # type: ignore[misc]
"""The engines that we know."""

ServiceId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=128),
    Field(description="Letters, digits and `._:-`.", examples=["chat"]),
]
Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048),
    Field(description="Address of one server, `/metrics` left out.", examples=["http://10.0.3.11:8000"]),
]
Person = Annotated[
    str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), Field(description="Who says so.")
]
Text = Annotated[str, StringConstraints(max_length=2000)]
Reason = Annotated[
    str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True), Field(description="Why.")
]
Flags = Annotated[
    tuple[Annotated[str, StringConstraints(max_length=4096)], ...],
    Field(
        max_length=200,
        description="Command-line arguments of the server, one word each, without program, host, port and model.",
        examples=[["--max-num-seqs", "64"]],
    ),
]
Version = Annotated[
    str, StringConstraints(min_length=1, max_length=64), Field(description="The engine's release.", examples=["0.26.0"])
]
KnobValues = Annotated[
    dict[Knob, bool | int | Annotated[float, Field(allow_inf_nan=False)] | Text],
    Field(max_length=len(Knob), description="Knobs with their values.", examples=[{"max_num_seqs": 64}]),
]


def _seconds(value: object) -> object:
    """A duration in words as seconds; a number is left as it is."""
    try:
        return seconds(value) if isinstance(value, str) else value
    except InvalidInput as wrong:
        raise ValueError(str(wrong)) from wrong


Duration = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=float | str),
    PlainSerializer(duration, return_type=str),
    Field(allow_inf_nan=False, examples=["90s", "30m", "1h"]),
]
"""Seconds, or in words; answered in words."""


class Model(BaseModel):
    """What enters or leaves the process: frozen, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SloIn(Model):
    """An objective: a metric's statistic shall stay on one side of a target."""

    metric_name: SloMetric
    target_value: float = Field(ge=0, allow_inf_nan=False)
    """Seconds for latencies, tokens/s for throughput, 0–1 for rates and usage."""
    comparison: Comparison = Comparison.LESS_THAN
    statistic: Statistic = Statistic.MEAN
    """`mean` is exact; quantiles, of latencies alone, come with bounds and decide only where those agree."""
    share: float | None = Field(None, gt=0, lt=1)
    """Of a latency's observations at least this share shall be within the target, instead of a statistic."""

    def objective(self) -> Objective:
        """The same in our words."""
        return Objective(self.metric_name, self.target_value, self.comparison, self.statistic, self.share)

    @classmethod
    def of(cls, objective: Objective) -> "SloIn":
        """An objective as callers write it."""
        return cls(
            metric_name=objective.metric,
            target_value=objective.target,
            comparison=objective.comparison,
            statistic=objective.statistic,
            share=objective.share,
        )


Slos = Annotated[tuple[SloIn, ...], Field(max_length=50)]


class QualityIn(Model):
    """How answers are compared where a change may alter them."""

    prompts: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_PROMPT)], ...],
        Field(max_length=MOST_PROMPTS),
    ] = ()
    """What replicas are asked, as texts to complete; left out: the agent's own set."""
    tokens_differ: float = Field(Quality().tokens_differ, gt=0, le=1)
    """Share of the places at which another token may follow the same text, beyond chance."""
    probability_shift: float = Field(Quality().probability_shift, gt=0, le=1)
    """How far off the probabilities of tokens may be, beyond chance (root mean square)."""

    def quality(self) -> Quality:
        """The same in our words."""
        return Quality(self.prompts, self.tokens_differ, self.probability_shift)

    @classmethod
    def of(cls, quality: Quality) -> "QualityIn":
        """The same as callers write it."""
        return cls(
            prompts=quality.prompts,
            tokens_differ=quality.tokens_differ,
            probability_shift=quality.probability_shift,
        )


class SloOut(Model):
    """How a window stands to an objective."""

    metric_name: SloMetric
    target_value: float
    comparison: Comparison
    statistic: Statistic
    share: float | None
    """What the objective asks for, where it is about a share."""
    current_value: float | None
    """The statistic or, for an objective about a share, the share within the target."""
    compliant: bool | None
    """Null where it cannot be told; `reason` says why."""
    reason: str
    low: float | None
    """For a quantile: it is not below this."""
    high: float | None
    """For a quantile: it is not above this; null where nothing bounds it."""
    error_budget_used: float | None
    """For a share or an error rate: bad events / those that may be; above 1 the objective is not met."""

    @classmethod
    def of(cls, status: SloStatus) -> "SloOut":
        """A status as callers see it."""
        return cls(
            metric_name=status.objective.metric,
            target_value=status.objective.target,
            comparison=status.objective.comparison,
            statistic=status.objective.statistic,
            share=status.objective.share,
            current_value=status.current,
            compliant=status.compliant,
            reason=status.reason,
            low=status.low,
            high=status.high,
            error_budget_used=status.budget_used,
        )


def objectives(slos: tuple[SloIn, ...] | None) -> tuple[Objective, ...] | None:
    """The objectives told, None where nothing was told of them."""
    return None if slos is None else tuple(slo.objective() for slo in slos)


def launch(flags: tuple[str, ...] | None) -> LaunchConfig | None:
    """The launch told, None where nothing was told of it."""
    return None if flags is None else LaunchConfig(flags)


def change(values: dict[Knob, KnobValue] | None) -> Change:
    """Knobs with their values in our order; nothing for none."""
    return change_of(values) if values else ()


def instant(at_s: float) -> datetime:
    """Unix seconds as people write a time."""
    return datetime.fromtimestamp(at_s, UTC)


def instant_or_none(at_s: float | None) -> datetime | None:
    """The same where there may be none. A server may tell a time that no calendar has: then there is none either."""
    try:
        return None if at_s is None else instant(at_s)
    except (OverflowError, ValueError, OSError):
        return None


def finite(value: float) -> float | None:
    """The value, or None for infinity, which JSON does not have."""
    return None if value in (inf, -inf) else value
