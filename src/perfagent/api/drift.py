"""What changed of late: against a service's own past, and against what was told of its settings."""

from fastapi import APIRouter

from perfagent.api.fields import Model
from perfagent.api.parts import TheAgent
from perfagent.api.problems import documented
from perfagent.api.services import ServicePath
from perfagent.domain.drift import ConfigDrift, Drift, Drifts, Figure
from perfagent.domain.errors import NotFound, StoreFailed
from perfagent.domain.knob import Knob, KnobValue

router = APIRouter(prefix="/services", tags=["services"])


class DriftOut(Model):
    """A figure of the last hour that is unlike before, the unit at the end of its name."""

    figure: Figure
    of_workload: bool
    """True for what is asked of the service, false for how quickly it answers."""
    usual: float
    now: float
    standard_deviations: float | None
    """Robust ones between the two; null where it never varied before."""
    hours: int
    """How many hours it is held against."""
    same_hour_of_the_week: bool

    @classmethod
    def of(cls, drift: Drift) -> "DriftOut":
        """A drift as callers see it."""
        return cls(
            figure=drift.figure,
            of_workload=drift.figure.of_workload,
            usual=drift.usual,
            now=drift.now,
            standard_deviations=drift.sds,
            hours=drift.hours,
            same_hour_of_the_week=drift.same_hour,
        )


class ConfigDriftOut(Model):
    """A setting of one replica that is not what it should be."""

    target: str
    knob: Knob
    in_force: KnobValue
    expected: KnobValue
    because: str
    """Whose word the expected value is."""

    @classmethod
    def of(cls, drift: ConfigDrift) -> "ConfigDriftOut":
        """A drift as callers see it."""
        return cls(
            target=drift.target,
            knob=drift.knob,
            in_force=drift.in_force,
            expected=drift.expected,
            because=drift.because,
        )


class DriftsOut(Model):
    """What changed of late."""

    service: str
    hours_known: int
    """Hours of the past; a day of them is needed before anything is called usual."""
    enough_past: bool
    figures: tuple[DriftOut, ...]
    settings: tuple[ConfigDriftOut, ...]
    """Empty while a workflow is under way: replicas are then set differently on purpose."""

    @classmethod
    def of(cls, service: str, seen: Drifts) -> "DriftsOut":
        """What was seen as callers see it."""
        return cls(
            service=service,
            hours_known=seen.hours,
            enough_past=seen.enough,
            figures=tuple(DriftOut.of(drift) for drift in seen.figures),
            settings=tuple(ConfigDriftOut.of(drift) for drift in seen.settings),
        )


@router.get("/{service_id}/drift", responses=documented(NotFound, StoreFailed))
async def get_drift(service_id: ServicePath, agent: TheAgent) -> DriftsOut:
    """The last hour against its own past, and its replicas' settings against their flags and against one another."""
    return DriftsOut.of(service_id, agent.drift(service_id))
