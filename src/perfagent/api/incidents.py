"""What a service shows or showed lately, held against chance."""

from datetime import datetime

from fastapi import APIRouter

from perfagent.api.fields import Model, instant
from perfagent.api.parts import TheAgent
from perfagent.api.problems import documented
from perfagent.api.services import ServicePath
from perfagent.api.views import BottleneckOut
from perfagent.domain.errors import NotFound, StoreFailed
from perfagent.domain.incident import Incident, Stage

router = APIRouter(prefix="/services", tags=["services"])


class IncidentOut(Model):
    """One cause over time."""

    state: Stage
    """`pending`: seen, but not for long enough to be believed; `resolved`: it fired and is gone."""
    since: datetime
    fired_at: datetime | None
    last_seen_at: datetime
    resolved_at: datetime | None
    finding: BottleneckOut
    """As it was seen last."""

    @classmethod
    def of(cls, incident: Incident) -> "IncidentOut":
        """An incident as callers see it."""
        return cls(
            state=incident.stage,
            since=instant(incident.since_s),
            fired_at=None if incident.fired_s is None else instant(incident.fired_s),
            last_seen_at=instant(incident.seen_s),
            resolved_at=None if incident.resolved_s is None else instant(incident.resolved_s),
            finding=BottleneckOut.of(incident.finding, None),
        )


class IncidentsOut(Model):
    """The newest first; what is resolved can be read for a day."""

    service: str
    incidents: tuple[IncidentOut, ...]


@router.get("/{service_id}/incidents", responses=documented(NotFound, StoreFailed))
async def get_incidents(service_id: ServicePath, agent: TheAgent) -> IncidentsOut:
    """What it shows or showed lately. A finding fires when it was there at every look for half a window."""
    agent.services.get(service_id)
    return IncidentsOut(
        service=service_id, incidents=tuple(IncidentOut.of(each) for each in agent.watch.incidents(service_id))
    )
