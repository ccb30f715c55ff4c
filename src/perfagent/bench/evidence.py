"""Outcomes → which evidence their right answers needed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perfagent.bench.interval import Measured, share
from perfagent.bench.outcome import Outcome


@dataclass(frozen=True, slots=True)
class OfCause:
    """What it took to name one cause."""

    right: int
    """How often it was named first, and right."""
    lost_without: dict[str, Measured]
    """Share of these lost when a metric, or `flags`, is left out; what is never missed is not listed. Highest first."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What right answers needed."""

    causes: dict[str, OfCause]
    top1_without: dict[str, Measured]
    """Top-1 when right answers that name a cause have to do without one piece and all others stay as they are.

    Lowest first.
    """


def needed(outcomes: Sequence[Outcome]) -> Needed:
    """From outcomes whose right answers were ablated."""
    ablated = [one for one in outcomes if one.right_without is not None]
    groups: dict[str, list[Outcome]] = {}
    for one in ablated:
        groups.setdefault(one.said[0], []).append(one)
    hits, lost = sum(one.right for one in outcomes), _lost(ablated)
    pieces = {piece for one in ablated for piece in one.right_without or {}}
    return Needed(
        {
            cause: OfCause(len(group), {piece: share(count, len(group)) for piece, count in _lost(group).most_common()})
            for cause, group in sorted(groups.items())
        },
        {
            piece: share(hits - lost[piece], len(outcomes))
            for piece in sorted(pieces, key=lambda piece: (-lost[piece], piece))
        },
    )


def _lost(outcomes: Iterable[Outcome]) -> Counter[str]:
    return Counter(piece for one in outcomes for piece, right in (one.right_without or {}).items() if not right)
