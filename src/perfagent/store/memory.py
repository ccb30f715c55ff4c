"""The records kept in this process only: for `diagnose`, and as the doubles of the tests.

They pass the contract suite of the SQL ones.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from perfagent.domain.errors import Conflict, LeaseLost, NotFound
from perfagent.domain.learned import Learned
from perfagent.domain.service import Service
from perfagent.domain.snapshot import Snapshot
from perfagent.ports import Clock, Recorded, Tenure
from perfagent.store.bounds import MAX_PER_TARGET, RETENTION_S, THINNED_EVERY_S, THINNED_FOR_S


@dataclass(slots=True)
class Held:
    """The lease as all agents in this process see it."""

    holder: str = ""
    token: int = 0
    expires_s: float = -inf


class MemoryLease:
    """A `Lease` between agents in this process, by `clock`."""

    def __init__(self, holder: str, clock: Clock, held: Held | None = None) -> None:
        self._holder = holder
        self._clock = clock
        self._held = held or Held()

    def claim(self, lease_s: float) -> Tenure:
        """Take it where it is free or has run out, prolong it where it is ours; otherwise tell who has it."""
        held, now_s = self._held, self._clock.now()
        ours = held.holder == self._holder
        if not ours and now_s < held.expires_s:
            return Tenure(held.holder, None, now_s, held.expires_s - now_s)
        held.holder, held.token, held.expires_s = self._holder, held.token + (not ours), now_s + lease_s
        return Tenure(held.holder, held.token, now_s, lease_s)

    def release(self) -> None:
        """Let another agent have it at once; nothing happens where it is not ours."""
        if self._held.holder == self._holder:
            self._held.expires_s = -inf


class MemoryJournal:
    """A `Journal` that dies with the process."""

    def __init__(self, held: Held | None = None) -> None:
        self._held = held or Held()
        self._events: list[Recorded] = []
        self._rollouts: dict[str, dict[int, Recorded]] = {}

    def append(
        self,
        rollout_id: str,
        seq: int,
        at_s: float,
        kind: str,
        body: str,
        *,
        token: int | None = None,
        seen: int | None = None,
    ) -> None:
        """Record an event. Raises `Conflict` as the port says."""
        if token is not None and token != self._held.token:
            raise LeaseLost(f"{self._held.holder} acts by now")
        began = [] if seen is None else [event.rollout_id for event in self._events[seen:] if event.seq == 0]
        if began:
            raise Conflict(f"rollout {began[0]} was begun at the same moment; ask again")
        events = self._rollouts.setdefault(rollout_id, {})
        if seq in events:
            raise Conflict(f"event {seq} of rollout {rollout_id!r} is already journalled")
        events[seq] = Recorded(rollout_id, seq, at_s, kind, body)
        self._events.append(events[seq])

    def events(self, rollout_id: str) -> Sequence[tuple[int, float, str, str]]:
        """All events of a rollout by seq; empty for an unknown one."""
        found = sorted(self._rollouts.get(rollout_id, {}).items())
        return [(seq, event.at_s, event.kind, event.body) for seq, event in found]

    def after(self, position: int) -> Sequence[tuple[int, Recorded]]:
        """What was journalled after that position, each with its own, in order."""
        return list(enumerate(self._events[position:], position + 1))


class MemoryHistory:
    """A `History` that dies with the process."""

    def __init__(
        self,
        retention_s: float = RETENTION_S,
        max_per_target: int = MAX_PER_TARGET,
        *,
        thinned_every_s: float = THINNED_EVERY_S,
        thinned_for_s: float = THINNED_FOR_S,
    ) -> None:
        self._retention_s = retention_s
        self._max_per_target = max_per_target
        self._thinned_every_s = thinned_every_s
        self._thinned_for_s = thinned_for_s
        self._latest_s = -inf
        self._kept: dict[str, list[Snapshot]] = {}
        self._thinned: dict[str, list[Snapshot]] = {}

    def add(self, snapshots: Sequence[Snapshot]) -> None:
        """Keep these; what is beyond the bounds is forgotten."""
        self._latest_s = max(self._latest_s, *(snapshot.at_s for snapshot in snapshots), -inf)
        for snapshot in snapshots:
            kept = self._kept.setdefault(snapshot.target, [])
            place = _place(kept, snapshot.at_s)
            same = place < len(kept) and kept[place].at_s == snapshot.at_s
            kept[place : place + same] = [snapshot]
            self._thin(snapshot)
        for target, kept in list(self._kept.items()):
            old = _place(kept, self._latest_s - self._retention_s)
            del kept[: max(old, len(kept) - self._max_per_target)]
            if not kept:
                del self._kept[target]
        for target, thinned in list(self._thinned.items()):
            del thinned[: _place(thinned, self._latest_s - self._thinned_for_s)]
            if not thinned:
                del self._thinned[target]

    def since(self, target: str, start_s: float) -> Sequence[Snapshot]:
        """A replica's snapshots from `start_s` on, strictly rising in time."""
        kept = self._kept.get(target, [])
        return kept[_place(kept, start_s) :]

    def sampled(self, target: str, start_s: float, every_s: float) -> Sequence[Snapshot]:
        """The first of a replica's snapshots in each `every_s` from `start_s` on, and the newest, rising in time."""
        thinned = self._thinned.get(target, [])
        known = {each.at_s: each for each in (*thinned[_place(thinned, start_s) :], *self.since(target, start_s))}
        firsts: dict[int, float] = {}
        for at_s in sorted(known):
            firsts.setdefault(int((at_s - start_s) / every_s), at_s)
        chosen = {*firsts.values(), max(known)} if known else set()
        return [known[at_s] for at_s in sorted(chosen)]

    def _thin(self, snapshot: Snapshot) -> None:
        """Keep it longer when it is the first of its period that is not too old."""
        thinned = self._thinned.setdefault(snapshot.target, [])
        oldest_s = self._latest_s - self._thinned_for_s
        period = snapshot.at_s // self._thinned_every_s
        place = _place(thinned, period * self._thinned_every_s)
        taken = place < len(thinned) and thinned[place].at_s // self._thinned_every_s == period
        first_s = thinned[place].at_s if taken and thinned[place].at_s >= oldest_s else inf
        if oldest_s <= snapshot.at_s <= first_s:
            thinned[place : place + taken] = [snapshot]


class MemoryServices:
    """`Services` that die with the process."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}

    def put(self, service: Service) -> None:
        """Keep this service, in place of the one with the same id."""
        self._services[service.id] = service

    def get(self, service_id: str) -> Service:
        """The service as it was put. Raises `NotFound`."""
        if service_id not in self._services:
            raise NotFound(f"no service {service_id!r}")
        return self._services[service_id]

    def list(self) -> Sequence[Service]:
        """All services by id."""
        return [service for _, service in sorted(self._services.items())]

    def delete(self, service_id: str) -> None:
        """Forget the service. Raises `NotFound`."""
        if self._services.pop(service_id, None) is None:
            raise NotFound(f"no service {service_id!r}")


def _place(kept: Sequence[Snapshot], at_s: float) -> int:
    return bisect_left(kept, at_s, key=lambda snapshot: snapshot.at_s)


class MemoryKnowledge:
    """A `Knowledge` that dies with the process."""

    def __init__(self) -> None:
        self._known: dict[str, Learned] = {}

    def get(self, key: str) -> Learned | None:
        """What is known under this key, or None."""
        return self._known.get(key)

    def put(self, key: str, learned: Learned) -> None:
        """Keep it, in place of what was there."""
        self._known[key] = learned
