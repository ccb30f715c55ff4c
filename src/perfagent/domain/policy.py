"""What may be done to a service without asking, how carefully, and when not at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from perfagent.domain.errors import InvalidInput
from perfagent.domain.freeze import Freeze
from perfagent.domain.knob import Change, Knob, KnobValue
from perfagent.domain.quality import Quality
from perfagent.domain.share import Share


@dataclass(frozen=True, slots=True)
class Bounds:
    """Values of a knob beyond which a person is asked."""

    knob: Knob
    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if self.least is None and self.most is None:
            raise InvalidInput(f"{self.knob}: bounds have a min, a max, or both")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise InvalidInput(f"{self.knob}: the min of {self.least:g} is above the max of {self.most:g}")

    def beyond(self, value: KnobValue) -> str | None:
        """How the value lies outside, or None where it does not; what is no number lies nowhere inside."""
        if isinstance(value, (bool, str)):
            return f"{self.knob} = {value} is no number, and the policy bounds it"
        if self.least is not None and value < self.least:
            return f"{self.knob} = {value:g} is below the policy's min of {self.least:g}"
        if self.most is not None and value > self.most:
            return f"{self.knob} = {value:g} is above the policy's max of {self.most:g}"
        return None


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be done to a service without asking, how carefully, and when not at all."""

    stages: tuple[Share, ...] = (Share(10), Share(50), Share(100))
    approval: str = "risky"
    """`always`, `risky` (what may alter answers, or where a predicted harm is not excluded) or `never`."""
    allow: tuple[Knob, ...] | None = None
    """Knobs that may change without approval; None for all."""
    bounds: tuple[Bounds, ...] = ()
    max_unready: int = 1
    """Replicas that are restarted at a time, on the way out as on the way back."""
    approval_timeout_s: float = 86_400.0
    """How long an approval is waited for, and how long one counts that was given before a freeze."""
    cooldown_s: float = 0.0
    """After a rollback, for how long no rollout begins."""
    changes_per_day: int | None = None
    """Rollouts that may change replicas within 24 hours; None for any number."""
    freezes: tuple[Freeze, ...] = ()
    """When no replica is changed but by a rollback."""
    quality: Quality = field(default_factory=Quality)
    """How answers are compared where a change may alter them."""

    def unlisted(self, change: Change) -> tuple[str, ...]:
        """Why the knobs of a change may not go without approval."""
        if self.allow is None:
            return ()
        others = (knob for knob, _ in change if knob not in self.allow)
        return tuple(f"{knob} is not among the knobs that the policy allows" for knob in others)

    def beyond(self, change: Change) -> tuple[str, ...]:
        """How the values of a change lie outside the bounds."""
        pairs = ((bounds, value) for bounds in self.bounds for knob, value in change if bounds.knob is knob)
        return tuple(said for bounds, value in pairs if (said := bounds.beyond(value)) is not None)


def check_stages(stages: Sequence[Share]) -> None:
    """Raise `InvalidInput` for stages that do not widen, or do not end at the whole fleet."""
    if not stages or stages[-1].percent != 100 or any(a.percent >= b.percent for a, b in pairwise(stages)):
        raise InvalidInput("stages widen from one to the next and end at 100 %")
