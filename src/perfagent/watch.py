"""What every service looked like at the last looks, kept so that a finding can be held against chance.

It begins anew with the process: windows come from the history, so what is wrong is seen again within a few looks.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from perfagent.analysis.incidents import advance
from perfagent.domain.finding import Cause, Diagnosis
from perfagent.domain.incident import Incident

LOOK_EVERY_S = 30.0
"""A finding is held for five times as long, and a window is ten times as long."""


@dataclass(slots=True)
class _Watched:
    looked_s: float = float("-inf")
    diagnosis: Diagnosis | None = None
    incidents: dict[Cause, Incident] = field(default_factory=dict)


class Watch:
    """The last diagnosis and the incidents of each service."""

    def __init__(self) -> None:
        self._services: dict[str, _Watched] = {}

    def due(self, services: Collection[str], now_s: float) -> str | None:
        """The service that was looked at longest ago, if that is long enough; the ones not named are forgotten."""
        self._services = {each: self._services.get(each) or _Watched() for each in services}
        oldest = min(services, key=lambda each: self._services[each].looked_s, default=None)
        waited = oldest is not None and now_s - self._services[oldest].looked_s >= LOOK_EVERY_S
        return oldest if waited else None

    def looked(self, service_id: str, diagnosis: Diagnosis | None, now_s: float) -> None:
        """What was seen of a service; None where nothing could be."""
        watched = self._services.setdefault(service_id, _Watched())
        watched.looked_s, watched.diagnosis = now_s, diagnosis
        if diagnosis is not None:
            watched.incidents = advance(watched.incidents, diagnosis.findings, now_s)

    def diagnosis(self, service_id: str) -> Diagnosis | None:
        """The last one; None where the service was not looked at yet, or nothing could be seen."""
        return watched.diagnosis if (watched := self._services.get(service_id)) else None

    def incidents(self, service_id: str) -> tuple[Incident, ...]:
        """What the service shows or showed lately, the newest first."""
        watched = self._services.get(service_id) or _Watched()
        return tuple(sorted(watched.incidents.values(), key=lambda incident: incident.since_s, reverse=True))
