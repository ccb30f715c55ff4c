"""A cause over time: seen, held against chance, firing, gone."""

from dataclasses import dataclass
from enum import StrEnum

from perfagent.domain.finding import Cause, Finding


class Stage(StrEnum):
    """Where an incident stands."""

    PENDING = "pending"
    """Seen, but not for long enough to be believed."""
    FIRING = "firing"
    RESOLVED = "resolved"
    """It fired, and has not been seen for long enough to be believed gone."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One cause that one service shows or showed. Times are unix seconds."""

    stage: Stage
    finding: Finding
    """As it was seen last."""
    since_s: float
    """When it was first seen."""
    seen_s: float
    """When it was last seen."""
    looks: int
    """How often it was seen in a row."""
    fired_s: float | None = None
    resolved_s: float | None = None

    @property
    def cause(self) -> Cause:
        """What it is about."""
        return self.finding.cause
