"""Every forecast beside what came of it, and what that says about forecasts to come.

A plan carries what was expected of its change, a stage's verdict what was measured: the ledger is read off the journal,
so nothing in it can disagree with what people were shown.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log

from perfagent.domain.finding import Cause
from perfagent.domain.knob import Change
from perfagent.domain.metric import Metric
from perfagent.domain.proposal import FORECAST, Effect
from perfagent.domain.verdict import PairedWindow
from perfagent.workflows.model import Phase, Plan, Rollout

HELD_SHARE = 0.9
"""Of outcomes that intervals shall hold."""
FEWEST = 10
"""Outcomes from which on they say something: the largest of fewer would be all there is to go by."""
MOST_PROMOTED = 8
"""As many more candidates at most, where some twenty are played anyway."""
NARROWEST = 0.01
"""Half an interval's width, as a logarithm, at least: no forecast is surer than one per cent."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One metric of one change: new / old, as expected and as it came."""

    rollout: str
    at_s: float
    """When the change was planned."""
    service: str
    engine: str
    release: str | None
    change: Change
    metric: Metric
    basis: str
    low_ratio: float
    high_ratio: float
    ratio: float
    """As the judge measured it between changed and unchanged replicas."""
    percent: int
    """The stage in which that was."""

    @property
    def held(self) -> bool:
        """Whether it came as expected."""
        return self.low_ratio <= self.ratio <= self.high_ratio


def entries(rollouts: Iterable[Rollout]) -> list[Entry]:
    """All forecasts that anything was measured of, oldest first."""
    found = [
        entry
        for rollout in rollouts
        if rollout.plan is not None
        for effect in rollout.plan.effects
        if (entry := _entry(rollout, rollout.plan, effect)) is not None
    ]
    return sorted(found, key=lambda entry: entry.at_s)


def promoted(rollouts: Sequence[Rollout], engine: str) -> tuple[tuple[Cause, Change], ...]:
    """What went to all replicas of a service of this engine, and for which cause; the latest first, each once."""
    plans = [each.plan for each in reversed(rollouts) if each.phase is Phase.COMPLETED and each.plan is not None]
    answers = ((plan.cause, plan.change) for plan in plans if plan.engine == engine and plan.cause is not None)
    return tuple(dict.fromkeys(answers))[:MOST_PROMOTED]


def widening(found: Sequence[Entry]) -> float:
    """By how much the twin's intervals must be wider, as a power of their ratio to the middle, to hold nine of ten.

    Split conformal: as wide as the outcome was that all but a tenth of them stay within. 1 as long as there are few.
    """
    scores = sorted(_score(entry) for entry in found if entry.basis == FORECAST and _told(entry))
    rank = ceil(HELD_SHARE * (len(scores) + 1))
    return max(1.0, scores[min(rank, len(scores)) - 1]) if len(scores) >= FEWEST else 1.0


def _entry(rollout: Rollout, plan: Plan, effect: Effect) -> Entry | None:
    """The last stage that measured both changed and unchanged replicas."""
    for record in reversed(rollout.history):
        seen = [window for look in record.looks for window in look.windows if window.metric is effect.metric]
        ratio = _ratio(seen)
        if ratio is not None:
            return Entry(
                rollout.id,
                rollout.created_at_s,
                plan.service,
                plan.engine,
                plan.release,
                plan.change,
                effect.metric,
                effect.basis,
                effect.low_ratio,
                effect.high_ratio,
                ratio,
                record.percent,
            )
    return None


def _ratio(windows: Sequence[PairedWindow]) -> float | None:
    """Changed / unchanged over all windows, each weighed by the scarcer arm's observations."""
    pairs = list(_pairs(windows))
    weight = sum(weight for _, _, weight in pairs)
    if not weight:
        return None
    changed, unchanged = (sum(pair[arm] * pair[2] for pair in pairs) / weight for arm in (0, 1))
    return changed / unchanged if unchanged > 0 and changed > 0 else None


def _pairs(windows: Sequence[PairedWindow]) -> Iterator[tuple[float, float, float]]:
    for window in windows:
        if window.canary is not None and window.baseline is not None:
            yield window.canary, window.baseline, min(window.canary_count, window.baseline_count)


def _told(entry: Entry) -> bool:
    return 0 < entry.low_ratio <= entry.high_ratio


def _score(entry: Entry) -> float:
    """How many half widths the outcome lies from the middle."""
    low, high = log(entry.low_ratio), log(entry.high_ratio)
    return abs(log(entry.ratio) - (low + high) / 2) / max((high - low) / 2, NARROWEST)
