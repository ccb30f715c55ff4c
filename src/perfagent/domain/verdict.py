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


class StageRule(StrEnum):
    """What a stage has to show."""

    NO_HARM = "no_harm"
    """A small share: no proven harm, and likely within every margin. It can hardly prove more."""
    NOT_INFERIOR = "not_inferior"
    """From about half of the fleet on: every criterion is proven to be within its margin."""
    WATCH = "watch"
    """The whole fleet, after that was proven: no harm beyond the margin shows now that everybody has the change."""


class Role(StrEnum):
    """Why a metric is judged."""

    PRIMARY = "primary"
    GUARDRAIL = "guardrail"
    MIX = "mix"
    """Not judged itself: it tells whether both arms were given the same kind of work."""


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
class Noise:
    """How much one metric differs between equal replicas and over time where nothing was changed: sds of the log.

    A stretch is a few observation windows; each part says on how many independent figures it rests (its freedom).
    """

    metric: Metric
    permanent_sd: float
    """Between replicas, for good."""
    permanent_freedom: float
    mood_sd: float
    """Of one replica, from mood to mood, each some stretches long: observing longer does not average it out."""
    mood_freedom: float
    fast_sd: float
    """Of one replica, from stretch to stretch of a mood; 0 where no past tells, and the observation itself has to."""
    fast_freedom: float
    swing_sd: float
    """Of all replicas together from mood to mood, as load makes it; it cancels where two arms are observed at once."""
    swing_freedom: float
    swing_fast_sd: float
    mood_stretches: float
    """How long a mood was taken to be."""
    stretch_s: float


@dataclass(frozen=True, slots=True)
class Quiet:
    """What a service's own past tells of its noise."""

    noises: tuple[Noise, ...] = ()
    """Of every metric that the past shows; of others a prior is taken."""
    replicas: int = 0
    stretches: int = 0
    """How many the past was cut into; 0 without a past."""
    stretch_s: float = 0.0


NO_PAST = Quiet()
"""Nothing is known of the service's noise."""


@dataclass(frozen=True, slots=True)
class Look:
    """Which of the planned looks at a stage it is."""

    number: int = 1
    planned: int = 1
    stages: int = 1
    """Stages of the whole rollout, which share its chance of a false alarm."""


ONLY_LOOK = Look()


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a stage will be able to tell, reckoned before anything is touched."""

    percent: int
    rule: StageRule
    shortest_s: float
    """From the last replica ready to the first look."""
    longest_s: float
    """To the last look, after which a person is asked."""
    metric: Metric
    """The primary one."""
    detectable: float
    """How much worse it must get so that nine of ten such changes are rolled back here: 0.2 is 20 %."""
    hold_chance: float
    """Of a change that makes no difference: to be held at the end. As if metrics were independent, so at most."""
    weakest: Metric
    """For whose sake that would most likely be."""
    assumed: bool
    """Without a past: by assumptions about the noise."""


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
    likely: bool = True
    """Whether it is likely to be within its margin: no proof, but enough for a few more replicas."""


@dataclass(frozen=True, slots=True)
class StageVerdict:
    """The decision on one stage, its reasons, and everything that it was made from."""

    verdict: Verdict
    reasons: tuple[str, ...]
    judgements: tuple[Judgement, ...]
    windows: tuple[PairedWindow, ...]
    past: tuple[PairedWindow, ...] = ()
    """The same arms before any replica was changed, in stretches."""
    quiet: Quiet | None = None
    """The noise that was reckoned with; None in records of releases that had none."""
    rule: StageRule | None = None
    paired: bool = True
    """Whether the arms were observed at the same time; otherwise the past is the baseline."""
    look: Look = ONLY_LOOK
    lost: tuple[str, ...] = ()
    """Canary replicas that vanished while they were observed, each with what was seen."""
    restarted: tuple[str, ...] = ()
    """Those that restarted."""
    warming: int = 0
    """Windows at the beginning that were left out because the canary's prefix cache was still filling."""
