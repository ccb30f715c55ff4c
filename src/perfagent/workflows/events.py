"""Everything that can happen to a rollout, and everything that can be due, each as a closed union.

Events are facts in the journal and carry when they happened. Effects are questions that the state asks of the
outside; they carry no memory, so a restart simply asks again.
"""

from dataclasses import dataclass

from perfagent.domain.quality import AnswerPair, QualityVerdict
from perfagent.domain.verdict import NO_PAST, Quiet, StageVerdict
from perfagent.workflows.model import Captured, Edit, Plan, Request


@dataclass(frozen=True, slots=True)
class Requested:
    """Somebody asked for a rollout: always the first event."""

    at_s: float
    request: Request


@dataclass(frozen=True, slots=True)
class Planned:
    """It is decided what will be done."""

    at_s: float
    plan: Plan


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """There is no change worth making."""

    at_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class PlanRefused:
    """What was asked for cannot or must not be done."""

    at_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Approved:
    """A person agrees to exactly this plan."""

    at_s: float
    who: str
    why: str
    plan_hash: str
    """Compared when it was said, and never again: a later release may hash what it reads back differently."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A person does not agree."""

    at_s: float
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class PriorStored:
    """How every replica was started is on record; nothing has been touched before this."""

    at_s: float
    captured: tuple[Captured, ...]
    quiet: Quiet = NO_PAST
    """The service's noise up to now."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """The plan no longer fits what it was made for. Nothing was touched, and it is made anew."""

    at_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Frozen:
    """The service's policy lets no further replica be changed for now."""

    at_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Thawed:
    """The freeze is over."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Answered:
    """What replicas answer before anything is touched, twice to each prompt of the plan."""

    at_s: float
    answers: tuple[AnswerPair, ...]
    """Empty where they could not be asked."""
    trouble: str = ""
    """Why not."""


@dataclass(frozen=True, slots=True)
class Touching:
    """These replicas are changed next. Journalled first, so that a rollback knows them whatever happens."""

    at_s: float
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """Every replica of the stage is ready with the change."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Judged:
    """The judge has looked at the stage."""

    at_s: float
    verdict: StageVerdict
    health: float | None
    """The canary's health score (0–100), or None where it could not be measured."""


@dataclass(frozen=True, slots=True)
class Probed:
    """Replicas with the change were asked whether they answer as before."""

    at_s: float
    quality: QualityVerdict


@dataclass(frozen=True, slots=True)
class CanaryLost:
    """A replica with the change failed to start, crashed, or did certain harm."""

    at_s: float
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Drifted:
    """Somebody else has changed these replicas, or nobody's change is left: then there are none."""

    at_s: float
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Expired:
    """Patience with the present phase is at its end."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Stumbled:
    """What was due could not be done this time."""

    at_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was due can be done again, though it led to nothing new."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Paused:
    """A person wants it to wait."""

    at_s: float
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """A person lets it go on where it was."""

    at_s: float
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Promoted:
    """A person takes the stage's verdict upon themselves."""

    at_s: float
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Aborted:
    """A person wants everything back as it was."""

    at_s: float
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Restoring:
    """These replicas get their stored configuration back next."""

    at_s: float
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """These replicas read back as they were stored, byte for byte."""

    at_s: float
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Every touched replica reads back as it was stored, but for those that somebody else has changed."""

    at_s: float
    unready: tuple[str, ...]
    """Restored replicas that did not become ready in time: they need a person."""
    left: tuple[Edit, ...] = ()
    """Replicas left as somebody else has set them."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A person sees to what is not restored yet."""

    at_s: float
    who: str
    why: str


Verb = Approved | Rejected | Paused | Resumed | Promoted | Aborted | TakenOver
"""What people do."""

Event = (
    Requested
    | Planned
    | NothingToDo
    | PlanRefused
    | Verb
    | PriorStored
    | Outdated
    | Frozen
    | Thawed
    | Answered
    | Touching
    | Applied
    | Probed
    | Judged
    | CanaryLost
    | Drifted
    | Expired
    | Stumbled
    | Recovered
    | Restoring
    | Restored
    | RolledBack
)


@dataclass(frozen=True, slots=True)
class DraftPlan:
    """Decide what to do."""


@dataclass(frozen=True, slots=True)
class CapturePrior:
    """Read how every replica is started, before anything is touched."""


@dataclass(frozen=True, slots=True)
class AskBefore:
    """Ask replicas the plan's prompts before anything is touched."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Bring the change to these replicas, a few at a time, and see them ready."""

    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Watch:
    """See that the replicas are unchanged by others, the touched ones alive, and whether a freeze is over."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask these replicas, which have the change, the same, and compare."""

    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """Ask the judge about the stage."""


@dataclass(frozen=True, slots=True)
class Restore:
    """Give these replicas their stored configuration back."""

    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expire:
    """Nobody decided in time."""


Effect = DraftPlan | CapturePrior | AskBefore | Apply | Watch | Probe | Judge | Restore | Expire
