"""How the agent is set, and what it can do."""

from fastapi import APIRouter
from pydantic import JsonValue

from perfagent import __version__, engines
from perfagent.analysis import needed
from perfagent.api.fields import Model
from perfagent.api.parts import TheParts
from perfagent.api.problems import documented
from perfagent.domain.finding import Cause
from perfagent.domain.knob import Knob
from perfagent.domain.proposal import Optimizer
from perfagent.domain.slo import Objective, SloMetric

router = APIRouter(tags=["about"])

VERBS = ("approve", "reject", "pause", "resume", "abort", "promote")


class ConfigOut(Model):
    """The effective settings; secrets are not among them."""

    settings: dict[str, JsonValue]


class CollectorOut(Model):
    """An engine that can be read."""

    engine: str
    cannot_tell: dict[SloMetric, str]
    """Objectives that cannot be set for it, with the reason."""
    knobs: tuple[Knob, ...]
    """What can be changed on its newest release."""

    @classmethod
    def of(cls, engine: str) -> "CollectorOut":
        """An engine as callers see it."""
        reasons = {metric: engines.gap(engine, needed(Objective(metric, 0))) for metric in SloMetric}
        return cls(
            engine=engine,
            cannot_tell={metric: reason for metric, reason in reasons.items() if reason is not None},
            knobs=tuple(knob for knob in Knob if engines.supports(engine, knob, None)),
        )


class CapabilitiesOut(Model):
    """What this agent can do."""

    version: str
    collectors: tuple[CollectorOut, ...]
    causes: tuple[Cause, ...]
    """What it can name."""
    optimizers: tuple[Optimizer, ...]
    workflows: tuple[str, ...]
    """What people can say to one."""
    actuators: tuple[str, ...]
    """With `none` the agent only tells."""


@router.get("/config", responses=documented())
async def config(parts: TheParts) -> ConfigOut:
    """How the agent is set."""
    return ConfigOut(settings=dict(parts.settings))


@router.get("/capabilities", responses=documented())
async def capabilities(parts: TheParts) -> CapabilitiesOut:
    """What this agent can do."""
    return CapabilitiesOut(
        version=__version__,
        collectors=tuple(CollectorOut.of(engine) for engine in engines.ENGINES),
        causes=tuple(Cause),
        optimizers=tuple(Optimizer),
        workflows=VERBS,
        actuators=parts.agent.actuators,
    )
