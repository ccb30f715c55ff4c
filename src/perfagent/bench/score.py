"""Outcomes → how often the first cause named is right, how often something is named where nothing is wrong.

Where several causes are right, naming one of them makes that one the right label; otherwise the one that was meant is.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from perfagent.bench.interval import Measured, macro_f1, rate, share
from perfagent.bench.outcome import Outcome
from perfagent.bench.scenario import NONE

Says = Callable[[Outcome], Sequence[str]]
"""Whose answer is scored: the causes it names, first one first."""


@dataclass(frozen=True, slots=True)
class OfCause:
    """One label's part."""

    count: int
    """How often it is right."""
    precision: float | None
    recall: Measured
    f1: float
    told_blind: int
    """Of those missed, how many the diagnosis itself said that it could not judge."""


@dataclass(frozen=True, slots=True)
class Score:
    """One judge's score on a set of situations."""

    count: int
    top1: Measured
    macro_f1: Measured
    false_alarms: int
    fault_free_hours: float
    false_alarms_per_1000_h: Measured
    causes: dict[str, OfCause]
    engines: dict[str, Measured]
    kinds: dict[str, Measured]
    flags: dict[str, Measured]
    """With the server's flags known and not."""
    confusions: tuple[tuple[str, str, int], ...]
    """(right, said, how often), the commonest first."""


def by_agent(outcome: Outcome) -> Sequence[str]:
    """What our detectors say."""
    return outcome.said


def by_rules(outcome: Outcome) -> Sequence[str]:
    """What the threshold rules say."""
    return () if outcome.rules_said == NONE else (outcome.rules_said,)


def score(outcomes: Sequence[Outcome], says: Says = by_agent) -> Score:
    """The score of whoever answers."""
    said = [next(iter(says(one)), NONE) for one in outcomes]
    right = [a if a in one.question.accept else one.question.label for a, one in zip(said, outcomes, strict=True)]
    quiet = [one for one in outcomes if one.question.label == NONE]
    alarms = sum(bool({*says(one)} - one.question.accept) for one in quiet)
    hours = sum(one.hours for one in quiet)
    hit = [a == b for a, b in zip(right, said, strict=True)]
    pairs = Counter((a, b) for a, b in zip(right, said, strict=True) if a != b)
    return Score(
        len(outcomes),
        share(sum(hit), len(hit)),
        macro_f1(right, said),
        alarms,
        hours,
        rate(alarms, hours / 1000),
        {label: _of_cause(label, right, said, outcomes) for label in sorted({*right})},
        _shares(((one.question.engine for one in outcomes), hit)),
        _shares(((one.question.kind for one in outcomes), hit)),
        _shares((("known" if one.question.told else "unknown" for one in outcomes), hit)),
        tuple((a, b, count) for (a, b), count in pairs.most_common()),
    )


def _of_cause(label: str, right: Sequence[str], said: Sequence[str], outcomes: Sequence[Outcome]) -> OfCause:
    hits = sum(a == b == label for a, b in zip(right, said, strict=True))
    count, named = right.count(label), said.count(label)
    blind = sum(a == label != b and one.blind for a, b, one in zip(right, said, outcomes, strict=True))
    return OfCause(count, hits / named if named else None, share(hits, count), 2 * hits / (count + named), blind)


def _shares(of: tuple[Iterable[str], Sequence[bool]]) -> dict[str, Measured]:
    groups: dict[str, list[bool]] = {}
    for name, hit in zip(*of, strict=True):
        groups.setdefault(name, []).append(hit)
    return {name: share(sum(hits), len(hits)) for name, hits in sorted(groups.items())}
