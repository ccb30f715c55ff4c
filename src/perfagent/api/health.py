"""Is it alive, can it work, and what does not work as it should."""

from typing import Literal

from fastapi import APIRouter

from perfagent import __version__
from perfagent.api.fields import Model
from perfagent.api.parts import Parts, TheParts
from perfagent.api.problems import documented
from perfagent.domain.errors import StoreFailed, Unavailable

router = APIRouter(prefix="/health", tags=["health"])


class HealthOut(Model):
    """How the agent is."""

    status: Literal["healthy", "degraded"]
    version: str
    uptime_seconds: float
    degradation_reasons: tuple[str, ...]

    @classmethod
    def of(cls, parts: Parts) -> "HealthOut":
        """The agent's health now."""
        reasons = parts.agent.degradations()
        return cls(
            status="degraded" if reasons else "healthy",
            version=__version__,
            uptime_seconds=parts.clock.monotonic() - parts.started_at_s,
            degradation_reasons=reasons,
        )


class LoopOut(Model):
    """How the loop is getting on."""

    turns: int
    mean_seconds: float | None
    stalled: str | None
    """Why nothing is being looked after; null when the loop turns."""


class LeaseOut(Model):
    """Which of the agents on one store acts; every one of them answers and takes down what people say."""

    role: Literal["acting", "standing_by"]
    holder: str
    """Host, process and a random part, as of the last time that the store was asked."""


class ServiceHealthOut(Model):
    """How many of a service's replicas can be scraped."""

    id: str
    replicas: int
    troubles: dict[str, str]
    """Replica → why its last scrape failed."""


class DetailedHealthOut(HealthOut):
    """How the agent and its parts are."""

    loop: LoopOut
    lease: LeaseOut
    services: tuple[ServiceHealthOut, ...]
    active_workflows: int

    @classmethod
    def of(cls, parts: Parts) -> "DetailedHealthOut":
        """The agent's health now, part by part."""
        agent = parts.agent
        ticks = agent.ticks
        return cls(
            **HealthOut.of(parts).model_dump(),
            loop=LoopOut(
                turns=ticks.count,
                mean_seconds=ticks.total_s / ticks.count if ticks.count else None,
                stalled=agent.stalled(),
            ),
            lease=LeaseOut(
                role="standing_by" if agent.lead.token is None else "acting",
                holder=agent.lead.holder,
            ),
            services=tuple(
                ServiceHealthOut(
                    id=service.id,
                    replicas=len(service.targets),
                    troubles={t.id: why for t in service.targets if (why := agent.trouble(t)) is not None},
                )
                for service in agent.services.list()
            ),
            active_workflows=sum(rollout.active for rollout in agent.manager.rollouts()),
        )


class AliveOut(Model):
    """The process answers."""

    status: Literal["alive"] = "alive"


@router.get("", responses=documented(StoreFailed))
async def health(parts: TheParts) -> HealthOut:
    """How the agent is. A degraded one still answers 200: it works, though not with everything."""
    return HealthOut.of(parts)


@router.get("/live", responses=documented())
async def health_live() -> AliveOut:
    """Whether the process answers at all; restart it when it does not."""
    return AliveOut()


@router.get("/ready", responses=documented(Unavailable, StoreFailed))
async def health_ready(parts: TheParts) -> HealthOut:
    """Whether the loop turns and the records can be read; 503 while not."""
    stalled = parts.agent.stalled()
    if stalled is not None:
        raise Unavailable(stalled)
    return HealthOut.of(parts)


@router.get("/detailed", responses=documented(StoreFailed))
async def health_detailed(parts: TheParts) -> DetailedHealthOut:
    """How the agent and its parts are."""
    return DetailedHealthOut.of(parts)
