"""The records kept in this process only: for `diagnose`, and as the doubles of the tests.

They pass the contract suite of the SQL ones.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import inf

from perfagent.domain.errors import Conflict, NotFound
from perfagent.domain.service import Service
from perfagent.domain.snapshot import Snapshot
from perfagent.store.bounds import MAX_PER_TARGET, RETENTION_S


class MemoryJournal:
    """A `Journal` that dies with the process."""

    def __init__(self) -> None:
        self._rollouts: dict[str, dict[int, tuple[int, float, str, str]]] = {}

    def append(self, rollout_id: str, seq: int, at_s: float, kind: str, body: str) -> None:
        """Record an event. Raises `Conflict` when (rollout, seq) exists."""
        events = self._rollouts.setdefault(rollout_id, {})
        if seq in events:
            raise Conflict(f"event {seq} of rollout {rollout_id!r} is already journalled")
        events[seq] = (seq, at_s, kind, body)

    def events(self, rollout_id: str) -> Sequence[tuple[int, float, str, str]]:
        """All events of a rollout by seq; empty for an unknown one."""
        return [event for _, event in sorted(self._rollouts.get(rollout_id, {}).items())]

    def rollout_ids(self) -> Sequence[str]:
        """Every rollout ever begun, oldest first."""
        return list(self._rollouts)


class MemoryHistory:
    """A `History` that dies with the process."""

    def __init__(self, retention_s: float = RETENTION_S, max_per_target: int = MAX_PER_TARGET) -> None:
        self._retention_s = retention_s
        self._max_per_target = max_per_target
        self._latest_s = -inf
        self._kept: dict[str, list[Snapshot]] = {}

    def add(self, snapshots: Sequence[Snapshot]) -> None:
        """Keep these; what is beyond the bounds is forgotten."""
        for snapshot in snapshots:
            kept = self._kept.setdefault(snapshot.target, [])
            place = _place(kept, snapshot.at_s)
            same = place < len(kept) and kept[place].at_s == snapshot.at_s
            kept[place : place + same] = [snapshot]
            self._latest_s = max(self._latest_s, snapshot.at_s)
        for target, kept in list(self._kept.items()):
            old = _place(kept, self._latest_s - self._retention_s)
            del kept[: max(old, len(kept) - self._max_per_target)]
            if not kept:
                del self._kept[target]

    def since(self, target: str, start_s: float) -> Sequence[Snapshot]:
        """A replica's snapshots from `start_s` on, strictly rising in time."""
        kept = self._kept.get(target, [])
        return kept[_place(kept, start_s) :]


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
