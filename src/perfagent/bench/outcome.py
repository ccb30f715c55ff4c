"""A labelled situation, and what was said of it."""

from dataclasses import dataclass

from perfagent.bench.rules import said_by_rules
from perfagent.bench.scenario import NONE
from perfagent.domain.finding import Diagnosis


@dataclass(frozen=True, slots=True)
class Question:
    """A situation and what is right about it; nobody who diagnoses sees one."""

    name: str
    kind: str
    """What was played; for a recording, its label."""
    engine: str
    told: bool
    """Whether the flags are known."""
    label: str
    """The cause that was meant, or `none`."""
    accept: frozenset[str]
    """What counts as right; the label is one of them."""
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """A question with its answer."""

    question: Question
    said: tuple[str, ...]
    """The causes found, first one first; empty where nothing was."""
    rules_said: str
    """What simple threshold rules say."""
    blind: bool
    """Whether the diagnosis tells that it could not judge what is right, or what a queue waits for."""
    hours: float
    """Replicas × the time that was looked at."""

    @property
    def right(self) -> bool:
        """Whether the first cause named counts as right."""
        return next(iter(self.said), NONE) in self.question.accept


def answered(question: Question, diagnosis: Diagnosis) -> Outcome:
    """The diagnosis beside what is right."""
    unjudged = {str(spot.subject) for spot in diagnosis.blind_spots}
    return Outcome(
        question,
        tuple(finding.cause.value for finding in diagnosis.findings),
        said_by_rules(diagnosis.figures),
        blind=bool(unjudged & {*question.accept, "queue"}),
        hours=question.replicas * (diagnosis.end_s - diagnosis.start_s) / 3600,
    )
