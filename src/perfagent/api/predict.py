"""What a change would do, before anything is touched."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from perfagent import engines
from perfagent.api.fields import KnobValues, Model, ServiceId, change
from perfagent.api.parts import TheAgent
from perfagent.api.problems import documented
from perfagent.domain.errors import InvalidInput, NotFound, NotScraped, StoreFailed, Unavailable
from perfagent.domain.knob import Knob, KnobValue
from perfagent.forecast import Figure, Load, Predicted, Prediction

router = APIRouter(prefix="/services", tags=["predict"])

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, le=1e9)]


class LoadIn(Model):
    """A change of the load; what is left out stays as it is."""

    rate_per_s: Positive | None = None
    """Requests per second and replica, instead of today's."""
    scale: Positive | None = None
    """Arrivals, or clients that wait for their answers, times this; not together with a rate."""
    prompt_tokens: Positive | None = None
    """Mean length of prompts."""
    output_tokens: Positive | None = None
    """Mean length of answers."""

    def load(self) -> Load:
        """The same in our words. Raises `InvalidInput` where it contradicts itself."""
        return Load(self.rate_per_s, self.scale, self.prompt_tokens, self.output_tokens)


class PredictIn(Model):
    """What to change: settings, load, or both. Nothing predicts today, which shows how well the twin knows it."""

    changes: KnobValues = Field(default_factory=dict)
    load: LoadIn = LoadIn()


class PredictedOut(Model):
    """One figure after the change. Times in seconds, ratios from 0 to 1."""

    value: float
    low: float
    """With `high`, the interval that holds the figure nine times out of ten."""
    high: float
    now: float | None
    """As measured; null where the engine does not tell."""
    twin_now: float | None
    """What the twin says of today."""
    elasticity: float | None
    """By how many per cent it grows when every step takes one per cent longer."""
    direction_only: bool
    """Near a critical load: believe the direction, not the size."""
    direction: str
    """`up`, `down`, `either`, or `unknown` where today's figure is not told."""

    @classmethod
    def of(cls, told: Predicted) -> "PredictedOut":
        """A figure as callers see it."""
        return cls(
            value=told.value,
            low=told.low,
            high=told.high,
            now=told.now,
            twin_now=told.twin_now,
            elasticity=told.elasticity,
            direction_only=told.direction_only,
            direction=told.direction,
        )


class PredictionOut(Model):
    """What the change would do to the service's busiest replica."""

    service: str
    changes: dict[Knob, KnobValue]
    flags: tuple[str, ...]
    """How this engine and release spell the change."""
    predicted: dict[Figure, PredictedOut]
    kv_cache_tokens: float
    kv_cache_tokens_now: float
    pinned: tuple[str, ...]
    """Constants of the step time that the window itself tells; the others are what data sheets make of them."""
    residual_ratio: float
    """How far the fitted step time is off, in the middle, on the window it was fitted to."""
    notes: tuple[str, ...]
    """What had to be assumed."""

    @classmethod
    def of(cls, service: str, flags: tuple[str, ...], found: Prediction) -> "PredictionOut":
        """A prediction as callers see it."""
        return cls(
            service=service,
            changes=dict(found.change),
            flags=flags,
            predicted={figure: PredictedOut.of(told) for figure, told in found.figures.items()},
            kv_cache_tokens=found.kv_tokens,
            kv_cache_tokens_now=found.kv_tokens_now,
            pinned=tuple(sorted(found.pinned)),
            residual_ratio=found.residual_ratio,
            notes=found.notes,
        )


@router.post(
    "/{service_id}/predict", responses=documented(InvalidInput, NotFound, NotScraped, StoreFailed, Unavailable)
)
async def predict(
    service_id: Annotated[ServiceId, Path(description="The service's id.")], body: PredictIn, agent: TheAgent
) -> PredictionOut:
    """Ask the twin what a change would do, with intervals. Takes some seconds; nothing is touched."""
    wanted, load = change(body.changes), body.load.load()
    view = agent.view(service_id)
    found = await agent.predict(service_id, wanted, load)
    flags = engines.spell(view.service.engine, wanted, view.config.release) if wanted else ()
    return PredictionOut.of(service_id, flags, found)
