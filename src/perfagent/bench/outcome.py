"""A labelled situation, and what was said of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from perfagent.bench.ablation import right_without
from perfagent.bench.look import Views, diagnosed
from perfagent.bench.rules import said_by_rules
from perfagent.bench.scenario import NONE


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
    right_without: Mapping[str, bool] | None = None
    """Pieces of evidence, and whether the answer is right without each; None where none was left out."""

    @property
    def right(self) -> bool:
        """Whether the first cause named counts as right."""
        return next(iter(self.said), NONE) in self.question.accept


def answered(question: Question, views: Views, *, ablation: bool = False) -> Outcome:
    """What is said of these windows beside what is right; with `ablation` what it took to name a cause right."""
    diagnosis = diagnosed(views)
    unjudged = {str(spot.subject) for spot in diagnosis.blind_spots}
    outcome = Outcome(
        question,
        tuple(finding.cause.value for finding in diagnosis.findings),
        said_by_rules(diagnosis.figures),
        blind=bool(unjudged & {*question.accept, "queue"}),
        hours=question.replicas * (diagnosis.end_s - diagnosis.start_s) / 3600,
    )
    if ablation and outcome.said and outcome.right:
        return replace(outcome, right_without=right_without(views, question.accept))
    return outcome
