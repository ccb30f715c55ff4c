"""What is wrong with a server or a service, and how it stands to its objectives."""

from datetime import datetime

from fastapi import APIRouter

from perfagent.analysis import service_slo_status
from perfagent.api.fields import EngineName, Model, ServiceId, SloOut, Slos, instant, objectives
from perfagent.api.parts import TheAgent
from perfagent.api.problems import documented
from perfagent.api.views import Basis, BlindSpotOut, BottleneckOut, basis_of
from perfagent.domain.errors import Conflict, InvalidInput, NotFound, NotScraped, StoreFailed
from perfagent.domain.slo import Objective
from perfagent.loop import View

router = APIRouter(tags=["analyze"])


class AnalyzeIn(Model):
    """What to look at, and what to hold it against."""

    instance_id: ServiceId
    instance_type: EngineName
    slo_targets: Slos | None = None
    """Left out: the objectives that the service was registered with."""


class AnalyzeOut(Model):
    """What is wrong, worst first; a consequence of a reported cause is not among them."""

    instance_id: str
    instance_type: str
    basis: Basis
    """`since_start`: there was only one scrape, so the figures are those since the server started."""
    window_start: datetime
    window_end: datetime
    bottlenecks: tuple[BottleneckOut, ...]
    slo_statuses: tuple[SloOut, ...]
    overall_health_score: float | None
    """0–100; null when nothing could be measured."""
    recommendations: tuple[str, ...]
    figures: dict[str, float]
    """The main figures, the unit at the end of each name; over replicas their mean."""
    blind_spots: tuple[BlindSpotOut, ...]
    """What could not be judged, and why."""

    @classmethod
    def of(cls, view: View, wanted: tuple[Objective, ...] | None) -> "AnalyzeOut":
        """A view as callers see it."""
        diagnosis = view.diagnosis
        held_against = view.service.objectives if wanted is None else wanted
        return cls(
            instance_id=view.service.id,
            instance_type=view.service.engine,
            basis=basis_of(diagnosis),
            window_start=instant(diagnosis.start_s),
            window_end=instant(diagnosis.end_s),
            bottlenecks=tuple(BottleneckOut.of(each, view.answer_to(each.cause)) for each in diagnosis.findings),
            slo_statuses=tuple(SloOut.of(service_slo_status(view.windows, each)) for each in held_against),
            overall_health_score=diagnosis.health,
            recommendations=(
                *(proposal.description for proposal in view.proposals),
                *(advice.text for advice in view.advice),
            ),
            figures=diagnosis.figures,
            blind_spots=tuple(BlindSpotOut.of(spot) for spot in diagnosis.blind_spots),
        )


@router.post("/analyze", responses=documented(InvalidInput, NotFound, NotScraped, Conflict, StoreFailed))
async def analyze(body: AnalyzeIn, agent: TheAgent) -> AnalyzeOut:
    """Name what holds a server back. An objective that its engine cannot tell is answered with null and the reason."""
    return AnalyzeOut.of(agent.view(body.instance_id, engine=body.instance_type.value), objectives(body.slo_targets))
