"""Sudden harm, looked for after every scrape: more failed or rejected requests on the canary, or more restarts.

Each snapshot is read once, since a rollout may be held for a day; whoever takes over reads the stage from its start.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Snapshot
from perfagent.domain.window import Window, resets
from perfagent.judge.criteria import SHARES
from perfagent.judge.evidence import CERTAIN, NO_BETS, Bets, evidence, placed, restart_evidence
from perfagent.judge.measure import ends


@dataclass(slots=True)
class _Arm:
    """What was seen of an arm since the stage was applied."""

    ended: dict[Metric, float] = field(default_factory=dict)
    restarts: int = 0
    watched_s: float = 0.0

    @property
    def requests(self) -> float:
        return sum(self.ended.values())


class SuddenHarm:
    """One stage. `usual` is the share of requests that ended so before, where nobody is left without the change."""

    def __init__(self, since_s: float, metrics: Collection[Metric], usual: Mapping[Metric, float] | None) -> None:
        self.since_s = since_s
        self._usual = usual
        self._latest: dict[str, Snapshot] = {}
        self._bets: dict[Metric, Bets] = dict.fromkeys((each for each in metrics if each in SHARES), NO_BETS)
        self._canary, self._others = _Arm(), _Arm()
        self._worst: dict[str, float] = {}

    def read_to_s(self, target: str) -> float:
        """The time up to which a replica's snapshots are known."""
        return self._latest[target].at_s if target in self._latest else self.since_s

    def add(
        self, canary: Mapping[str, Sequence[Snapshot]], others: Mapping[str, Sequence[Snapshot]]
    ) -> tuple[str, str] | None:
        """(the canary that is worst off, why) when what is new makes harm certain."""
        new, old = self._book(canary, self._canary), self._book(others, self._others)
        for metric, bets in self._bets.items():
            bad, requests = new.ended.get(metric, 0.0), new.requests
            if self._usual is not None:
                usual = self._usual[metric]
                step = bad, usual, requests - bad, 1 - usual
            else:
                step = bad, requests, old.ended.get(metric, 0.0), old.requests
            self._bets[metric] = placed(bets, step)
        return self._certain()

    def _book(self, seen: Mapping[str, Sequence[Snapshot]], arm: _Arm) -> _Arm:
        """Count what is new, and hand it back by itself."""
        fresh = _Arm()
        for target, snapshots in seen.items():
            known = [self._latest[target]] if target in self._latest else []
            if not snapshots:
                continue
            window = Window((*known, *snapshots))
            self._latest[target] = snapshots[-1]
            fresh.restarts += resets(window)
            fresh.watched_s += window.span_s
            ended = ends(window) or {}
            bad = resets(window) + sum(ended.get(metric, 0.0) for metric in SHARES)
            self._worst[target] = self._worst.get(target, 0.0) + bad
            for metric, count in ended.items():
                fresh.ended[metric] = fresh.ended.get(metric, 0.0) + count
        for metric, count in fresh.ended.items():
            arm.ended[metric] = arm.ended.get(metric, 0.0) + count
        arm.restarts += fresh.restarts
        arm.watched_s += fresh.watched_s
        return fresh

    def _certain(self) -> tuple[str, str] | None:
        new, old = self._canary, self._others
        if restart_evidence(new.restarts, new.watched_s, old.restarts, old.watched_s) >= CERTAIN:
            return self._named(f"{new.restarts} restarts of the canary in {new.watched_s / 60:.0f} minutes of replicas")
        for metric, bets in self._bets.items():
            if evidence(bets) >= CERTAIN:
                share = new.ended.get(metric, 0.0) / new.requests
                return self._named(f"{metric}: {share:.2%} of {new.requests:.0f} requests, which is no chance")
        return None

    def _named(self, reason: str) -> tuple[str, str]:
        return max(self._worst, key=lambda target: self._worst[target]), reason
