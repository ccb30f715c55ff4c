"""Which settings to change, and what to expect."""

from datetime import datetime

from fastapi import APIRouter

from perfagent.api.fields import EngineName, KnobValues, Model, ServiceId, change, instant
from perfagent.api.parts import TheAgent
from perfagent.api.problems import documented
from perfagent.api.views import AdviceOut, Basis, BlindSpotOut, EffectiveOut, ImprovementOut, OptimizationOut, basis_of
from perfagent.domain.errors import Conflict, InvalidInput, NotFound, NotScraped, StoreFailed, Unavailable
from perfagent.domain.knob import Change, Knob
from perfagent.loop import View

router = APIRouter(tags=["optimize"])


class OptimizeIn(Model):
    """What to improve, and how it is set as far as the caller knows."""

    instance_id: ServiceId
    instance_type: EngineName
    current_config: KnobValues | None = None
    """Fills what is unknown or only a default; what was read back from the server or its flags is believed first."""


class OptimizeOut(Model):
    """Changes that answer the findings, best first: each one stands alone, and one is rolled out at a time."""

    instance_id: str
    instance_type: str
    basis: Basis
    """`since_start`: there was only one scrape, so the figures are those since the server started."""
    window_start: datetime
    window_end: datetime
    optimizations: tuple[OptimizationOut, ...]
    estimated_total_improvement: ImprovementOut | None
    """Only where there is exactly one change: improvements of several cannot be added."""
    estimated_total_improvement_reason: str
    advice: tuple[AdviceOut, ...]
    """For findings that no change answers."""
    configuration: EffectiveOut
    """What the answer was made for."""
    overruled: tuple[Knob, ...]
    """Knobs of `current_config` that are known to be set otherwise."""
    blind_spots: tuple[BlindSpotOut, ...]
    predicted_by: str
    """`the twin`, which has played each change on the service's own traffic, or rules of thumb and why."""

    @classmethod
    def of(cls, view: View, told: Change) -> "OptimizeOut":
        """A view as callers see it."""
        optimizations = tuple(OptimizationOut.of(proposal) for proposal in view.proposals)
        total, reason = _total(optimizations)
        return cls(
            instance_id=view.service.id,
            instance_type=view.service.engine,
            basis=basis_of(view.diagnosis),
            window_start=instant(view.diagnosis.start_s),
            window_end=instant(view.diagnosis.end_s),
            optimizations=optimizations,
            estimated_total_improvement=total,
            estimated_total_improvement_reason=reason,
            advice=tuple(AdviceOut.of(advice) for advice in view.advice),
            configuration=EffectiveOut.of(view.config),
            overruled=tuple(knob for knob, value in told if view.config.value(knob) != value),
            blind_spots=tuple(BlindSpotOut.of(spot) for spot in view.diagnosis.blind_spots),
            predicted_by=view.basis,
        )


def _total(optimizations: tuple[OptimizationOut, ...]) -> tuple[ImprovementOut | None, str]:
    match optimizations:
        case ():
            return None, "nothing to change was found"
        case (only,):
            return only.estimated_improvement, "that of the only change"
        case _:
            return None, "the changes are alternatives, each estimated alone: their effects cannot be added"


@router.post("/optimize", responses=documented(InvalidInput, NotFound, NotScraped, Conflict, StoreFailed, Unavailable))
async def optimize(body: OptimizeIn, agent: TheAgent) -> OptimizeOut:
    """Propose exact settings. Without a finding there is nothing to change, and the list is empty."""
    told = change(body.current_config)
    return OptimizeOut.of(await agent.tuned(body.instance_id, engine=body.instance_type.value, told=told), told)
