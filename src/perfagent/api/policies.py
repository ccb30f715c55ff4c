"""A service's policy as callers write it."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from perfagent.api.fields import Duration, Model, QualityIn, instant
from perfagent.domain.freeze import Day, Freeze, Period, Weekly
from perfagent.domain.knob import Knob
from perfagent.domain.policy import Bounds, Policy
from perfagent.domain.share import Share

LONGEST_WAIT_S = 30 * 86_400.0
"""An assumption: who wants nothing to happen for longer writes a freeze."""

_TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$"), Field(examples=["18:00"])]
_Why = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)]
_Bound = Annotated[float, Field(allow_inf_nan=False)]


class BoundsIn(Model):
    """Values of a knob that is a number; beyond them a person is asked."""

    min: _Bound | None = None
    max: _Bound | None = None


def _name_knobs(schema: dict[str, Any]) -> None:
    """Show callers each knob by name, and that nothing else is taken."""
    schema["properties"] |= dict.fromkeys(Knob, schema["additionalProperties"])
    schema["additionalProperties"] = False


class KnobsIn(Model):
    """What may go without approval: `{"allow": ["max_num_seqs"], "max_num_seqs": {"max": 1024}}`."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_name_knobs)
    __pydantic_extra__: dict[str, BoundsIn]

    allow: Annotated[tuple[Knob, ...], Field(max_length=len(Knob))] | None = None
    """Left out: all knobs."""

    @model_validator(mode="after")
    def _known(self) -> "KnobsIn":
        unknown = sorted(set(self.__pydantic_extra__) - set(Knob))
        if unknown:
            raise ValueError(f"unknown knob {unknown[0]!r}; known are allow, {', '.join(Knob)}")
        return self

    def bounds(self) -> tuple[Bounds, ...]:
        """The same in our words, in the order of knobs. Raises `InvalidInput` for a min above its max, or neither."""
        told = self.__pydantic_extra__
        return tuple(Bounds(knob, told[knob].min, told[knob].max) for knob in Knob if knob in told)

    @classmethod
    def of(cls, policy: Policy) -> "KnobsIn":
        """What a policy says of knobs, as callers write it."""
        bounds = {each.knob.value: BoundsIn(min=each.least, max=each.most) for each in policy.bounds}
        return cls.model_validate({"allow": policy.allow, **bounds})


class WeeklyIn(Model):
    """A freeze that comes back."""

    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=7)] = tuple(Day)
    """On which it begins."""
    start: _TimeOfDay = Field("00:00", alias="from")
    end: _TimeOfDay = Field("00:00", alias="to")
    """On the next day where that is not later on the same."""
    timezone: Annotated[str, StringConstraints(max_length=64)] = "UTC"
    why: _Why = ""

    def freeze(self) -> Weekly:
        """The same in our words. Raises `InvalidInput` for an unknown time zone."""
        return Weekly(self.days, _minutes(self.start), _minutes(self.end), self.timezone, self.why)


class PeriodIn(Model):
    """A freeze that comes once."""

    start: AwareDatetime = Field(alias="from")
    until: AwareDatetime
    why: _Why = ""

    def freeze(self) -> Period:
        """The same in our words. Raises `InvalidInput` for one that ends before it begins."""
        return Period(self.start.timestamp(), self.until.timestamp(), self.why)


def _form(value: Any) -> str:
    once = "until" in value if isinstance(value, dict) else isinstance(value, PeriodIn)
    return "period" if once else "weekly"


FreezeIn = Annotated[
    Annotated[WeeklyIn, Tag("weekly")] | Annotated[PeriodIn, Tag("period")],
    Discriminator(_form),
    Field(description="With `until` it comes once, otherwise every week."),
]


class PolicyIn(Model):
    """What may be done without asking, how carefully, and when not at all."""

    stages: Annotated[tuple[Annotated[int, Field(ge=1, le=100)], ...], Field(min_length=1, max_length=10)] = (
        10,
        50,
        100,
    )
    """Percent of the replicas, widening, 100 last."""
    approval: Literal["always", "risky", "never"] = "risky"
    """`risky`: what may alter answers, or where a predicted harm is not excluded, waits for a person."""
    knobs: KnobsIn = KnobsIn()
    max_unready: int = Field(1, ge=1, le=1000)
    """Replicas that are restarted at a time, on the way out as on the way back."""
    approval_timeout: Duration = Field(86_400.0, gt=0, le=LONGEST_WAIT_S)
    """How long an approval is waited for, and how long one counts that was given before a freeze."""
    cooldown: Duration = Field(0.0, ge=0, le=LONGEST_WAIT_S)
    """After a rollback, for how long no rollout begins."""
    changes_per_day: int | None = Field(None, ge=1, le=1000)
    """Rollouts that may change replicas within 24 hours."""
    freeze: Annotated[tuple[FreezeIn, ...], Field(max_length=50)] = ()
    """When no replica is changed but by a rollback."""
    quality: QualityIn = QualityIn()

    def policy(self) -> Policy:
        """The same in our words. Raises `InvalidInput` for a freeze or bounds that cannot be meant."""
        return Policy(
            stages=tuple(Share(percent) for percent in self.stages),
            approval=self.approval,
            allow=self.knobs.allow,
            bounds=self.knobs.bounds(),
            max_unready=self.max_unready,
            approval_timeout_s=self.approval_timeout,
            cooldown_s=self.cooldown,
            changes_per_day=self.changes_per_day,
            freezes=tuple(each.freeze() for each in self.freeze),
            quality=self.quality.quality(),
        )

    @classmethod
    def of(cls, policy: Policy) -> "PolicyIn":
        """A policy as callers write it."""
        return cls.model_validate(
            {
                "stages": [share.percent for share in policy.stages],
                "approval": policy.approval,
                "knobs": KnobsIn.of(policy),
                "max_unready": policy.max_unready,
                "approval_timeout": policy.approval_timeout_s,
                "cooldown": policy.cooldown_s,
                "changes_per_day": policy.changes_per_day,
                "freeze": [_written(freeze) for freeze in policy.freezes],
                "quality": QualityIn.of(policy.quality),
            }
        )


def _written(freeze: Freeze) -> dict[str, object]:
    if isinstance(freeze, Period):
        return {"from": instant(freeze.from_s), "until": instant(freeze.until_s), "why": freeze.why}
    start, end = _text(freeze.start_min), _text(freeze.end_min)
    return {"days": freeze.days, "from": start, "to": end, "timezone": freeze.timezone, "why": freeze.why}


def _minutes(text: str) -> int:
    return 60 * int(text[:2]) + int(text[3:])


def _text(minutes: int) -> str:
    return "{:02}:{:02}".format(*divmod(minutes, 60))
