"""What each hour of a replica's past held, kept in a few numbers: the history decodes an hour's snapshot only once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from perfagent.analysis.drift import HOUR_S, Totals, totals
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.domain.window import Window
from perfagent.ports import History

REACH_S = 15 * 24 * HOUR_S
"""The same hour of the week twice; the history keeps an hour's first snapshot for as long."""


@dataclass(slots=True)
class _Known:
    hours: dict[float, Totals] = field(default_factory=dict)
    """By the time at which they began."""
    now: Totals | None = None
    """From the beginning of the last whole hour until now."""


class Past:
    """The hours of all replicas that were asked for."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._replicas: dict[str, _Known] = {}

    def forget(self, target: str) -> None:
        """A replica that is looked after no longer."""
        self._replicas.pop(target, None)

    def hours(
        self, targets: Sequence[Target], now_s: float
    ) -> tuple[Sequence[Totals], float, Mapping[float, Sequence[Totals]]]:
        """(the last hour of each replica, when it began, the hours before by when they began)."""
        began_s = now_s // HOUR_S * HOUR_S - HOUR_S
        known = [self._read(target.id, began_s) for target in targets]
        past: dict[float, list[Totals]] = {}
        for each in known:
            for at_s, seen in each.hours.items():
                if at_s < began_s:
                    past.setdefault(at_s, []).append(seen)
        return [each.now for each in known if each.now is not None], began_s, past

    def _read(self, target: str, began_s: float) -> _Known:
        known = self._replicas.setdefault(target, _Known())
        start_s = max(known.hours, default=began_s - REACH_S)
        firsts: dict[float, list[Snapshot]] = {}
        for snapshot in self._history.sampled(target, start_s, HOUR_S):
            firsts.setdefault(snapshot.at_s // HOUR_S * HOUR_S, []).append(snapshot)
        for (at_s, (first, *_)), (next_s, (following, *_)) in pairwise(firsts.items()):
            if next_s == at_s + HOUR_S:
                known.hours[at_s] = totals(Window((first, following)))
        known.hours = {at_s: seen for at_s, seen in known.hours.items() if at_s >= began_s - REACH_S}
        latest = [snapshot for at_s, snapshots in firsts.items() if at_s >= began_s for snapshot in snapshots]
        whole = len(latest) > 1 and began_s in firsts and latest[-1].at_s - latest[0].at_s >= HOUR_S / 2
        known.now = totals(Window(tuple(latest))) if whole else None
        return known
