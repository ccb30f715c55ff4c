"""Services: named sets of replicas of one engine and model, and what is seen of them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from perfagent.analysis import service_slo_status
from perfagent.api.fields import (
    EngineName,
    Flags,
    Model,
    ServiceId,
    SloIn,
    SloOut,
    Slos,
    Url,
    Version,
    instant,
)
from perfagent.api.parts import TheAgent
from perfagent.api.policies import PolicyIn
from perfagent.api.problems import documented
from perfagent.api.views import (
    AdviceOut,
    Basis,
    BlindSpotOut,
    BottleneckOut,
    EffectiveOut,
    MetricOut,
    OptimizationOut,
    basis_of,
    metrics_of,
)
from perfagent.domain.errors import Conflict, InvalidInput, NotFound, NotScraped, StoreFailed, Unavailable
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.machine import CPU, Machine, ModelShape
from perfagent.domain.metric import Metric
from perfagent.domain.service import Service, replica
from perfagent.domain.window import Window
from perfagent.loop import Agent, View
from perfagent.twin.gpus import gpu

router = APIRouter(prefix="/services", tags=["services"])

ServicePath = Annotated[ServiceId, Path(description="The service's id.")]


class ModelIn(Model):
    """A model's shape, as its `config.json` has it."""

    params: float = Field(gt=0, le=1e14, allow_inf_nan=False)
    layers: int = Field(ge=1, le=10_000)
    kv_heads: int = Field(ge=1, le=10_000)
    head_dim: int = Field(ge=1, le=100_000)
    width: int = Field(0, ge=0, le=10_000_000)
    """Heads × head dimension; where it is 0 it is estimated."""

    def shape(self) -> ModelShape:
        """The same in our words."""
        return ModelShape(self.params, self.layers, self.kv_heads, self.head_dim, self.width)

    @classmethod
    def of(cls, shape: ModelShape) -> "ModelIn":
        """A shape as callers write it."""
        return cls(
            params=shape.params,
            layers=shape.layers,
            kv_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            width=shape.width,
        )


class ServiceIn(Model):
    """What to look after."""

    engine: EngineName
    targets: Annotated[tuple[Url, ...], Field(min_length=1, max_length=1000)]
    slos: Slos = ()
    """Objectives that the engine cannot tell are refused."""
    actuator: str = Field("none", max_length=64)
    """With `none` the agent only tells."""
    policy: PolicyIn = PolicyIn()
    flags: Flags = ()
    version: Version | None = None
    gpu: str | None = Field(None, max_length=100, examples=["h100"])
    """What a replica runs on, `cpu` included; sharpens predictions."""
    gpus: int = Field(1, ge=1, le=1024)
    """How many share one replica's work."""
    model: ModelIn | None = None
    """Sharpens predictions."""

    def service(self, service_id: str) -> Service:
        """The same in our words. Raises `InvalidInput` for a target that is no plain address."""
        return Service(
            id=service_id,
            engine=self.engine.value,
            targets=tuple(replica(service_id, url) for url in self.targets),
            objectives=tuple(slo.objective() for slo in self.slos),
            actuator=self.actuator,
            policy=self.policy.policy(),
            launch=LaunchConfig(self.flags),
            release=self.version,
            machine=Machine(self._gpu(), self.gpus, None if self.model is None else self.model.shape()),
        )

    def _gpu(self) -> str | None:
        """Raises `InvalidInput` for a GPU without a data sheet."""
        return self.gpu if self.gpu in (None, CPU) else gpu(self.gpu).name


class ReplicaOut(Model):
    """One replica."""

    id: str
    url: str
    trouble: str | None
    """Why its last scrape failed."""


class ServiceOut(Model):
    """A service as it is looked after."""

    id: str
    engine: str
    targets: tuple[ReplicaOut, ...]
    slos: tuple[SloIn, ...]
    actuator: str
    policy: PolicyIn
    flags: tuple[str, ...]
    version: str | None
    gpu: str | None
    gpus: int
    model: ModelIn | None
    active_workflow: str | None

    @classmethod
    def of(cls, service: Service, agent: Agent) -> "ServiceOut":
        """A service as callers see it."""
        active = agent.manager.active(service.id)
        return cls(
            id=service.id,
            engine=service.engine,
            targets=tuple(ReplicaOut(id=t.id, url=t.url, trouble=agent.trouble(t)) for t in service.targets),
            slos=tuple(SloIn.of(objective) for objective in service.objectives),
            actuator=service.actuator,
            policy=PolicyIn.of(service.policy),
            flags=service.launch.flags,
            version=service.release,
            gpu=service.machine.gpu,
            gpus=service.machine.gpus,
            model=None if service.machine.shape is None else ModelIn.of(service.machine.shape),
            active_workflow=None if active is None else active.id,
        )


class ServicesOut(Model):
    """A page of services, by id."""

    services: tuple[ServiceOut, ...]
    next: str | None
    """Give it as `after` to go on; null at the end."""


class FindingsOut(Model):
    """What is wrong with a service now."""

    service: str
    basis: Basis
    window_start: datetime
    window_end: datetime
    health: float | None
    """0–100; null when nothing could be measured."""
    findings: tuple[BottleneckOut, ...]
    slo_statuses: tuple[SloOut, ...]
    figures: dict[str, float]
    blind_spots: tuple[BlindSpotOut, ...]

    @classmethod
    def of(cls, view: View) -> "FindingsOut":
        """A view's findings as callers see them."""
        diagnosis = view.diagnosis
        return cls(
            service=view.service.id,
            basis=basis_of(diagnosis),
            window_start=instant(diagnosis.start_s),
            window_end=instant(diagnosis.end_s),
            health=diagnosis.health,
            findings=tuple(BottleneckOut.of(each, view.answer_to(each.cause)) for each in diagnosis.findings),
            slo_statuses=tuple(SloOut.of(service_slo_status(view.windows, each)) for each in view.service.objectives),
            figures=diagnosis.figures,
            blind_spots=tuple(BlindSpotOut.of(spot) for spot in diagnosis.blind_spots),
        )


class ProposalsOut(Model):
    """What would help a service now."""

    service: str
    configuration: EffectiveOut
    """The first replica's; replicas are set alike unless a workflow is under way."""
    proposals: tuple[OptimizationOut, ...]
    advice: tuple[AdviceOut, ...]
    predicted_by: str
    """`the twin`, which has played each change on the service's own traffic, or rules of thumb and why."""

    @classmethod
    def of(cls, view: View) -> "ProposalsOut":
        """A view's proposals as callers see them."""
        return cls(
            service=view.service.id,
            configuration=EffectiveOut.of(view.config),
            proposals=tuple(OptimizationOut.of(proposal) for proposal in view.proposals),
            advice=tuple(AdviceOut.of(advice) for advice in view.advice),
            predicted_by=view.basis,
        )


class WindowOut(Model):
    """What one replica did lately."""

    target: str
    start: datetime
    end: datetime
    scrapes: int
    since_start: bool
    """True where there was only one scrape: the figures are those since the server started."""
    metrics: dict[Metric, MetricOut]

    @classmethod
    def of(cls, window: Window) -> "WindowOut":
        """A window as callers see it."""
        return cls(
            target=window.target,
            start=instant(window.start_s),
            end=instant(window.end_s),
            scrapes=len(window.snapshots),
            since_start=window.since_start,
            metrics=metrics_of(window),
        )


class WindowsOut(Model):
    """What a service's replicas did lately; those that were not scraped are left out."""

    service: str
    windows: tuple[WindowOut, ...]


@router.get("", responses=documented(StoreFailed))
async def list_services(
    agent: TheAgent,
    after: Annotated[str, Query(max_length=128)] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> ServicesOut:
    """Services by id."""
    rest = [service for service in agent.services.list() if service.id > after]
    page = rest[:limit]
    return ServicesOut(
        services=tuple(ServiceOut.of(service, agent) for service in page),
        next=page[-1].id if len(rest) > limit else None,
    )


@router.get("/{service_id}", responses=documented(NotFound, StoreFailed))
async def get_service(service_id: ServicePath, agent: TheAgent) -> ServiceOut:
    """A service as it is looked after."""
    return ServiceOut.of(agent.services.get(service_id), agent)


@router.put(
    "/{service_id}",
    responses={
        201: {"model": ServiceOut, "description": "It is new."},
        **documented(InvalidInput, Conflict, StoreFailed),
    },
)
async def put_service(service_id: ServicePath, body: ServiceIn, agent: TheAgent, response: Response) -> ServiceOut:
    """Look after a service from now on: 201 when it is new. Safe to repeat."""
    service = body.service(service_id)
    response.status_code = 201 if agent.register(service) else 200
    return ServiceOut.of(service, agent)


@router.delete("/{service_id}", status_code=204, responses=documented(NotFound, Conflict, StoreFailed))
async def delete_service(service_id: ServicePath, agent: TheAgent) -> None:
    """Look after it no longer; refused while a workflow is under way. Its servers are not touched."""
    agent.unregister(service_id)


@router.get("/{service_id}/findings", responses=documented(NotFound, NotScraped, StoreFailed))
async def get_findings(service_id: ServicePath, agent: TheAgent) -> FindingsOut:
    """What is wrong with it now, worst first."""
    return FindingsOut.of(agent.view(service_id))


@router.get("/{service_id}/proposals", responses=documented(NotFound, NotScraped, StoreFailed, Unavailable))
async def get_proposals(service_id: ServicePath, agent: TheAgent) -> ProposalsOut:
    """What would help it now, best first."""
    return ProposalsOut.of(await agent.tuned(service_id))


@router.get("/{service_id}/windows", responses=documented(NotFound, NotScraped, StoreFailed))
async def get_windows(service_id: ServicePath, agent: TheAgent) -> WindowsOut:
    """What its replicas did lately, in our metrics."""
    view = agent.view(service_id)
    return WindowsOut(service=service_id, windows=tuple(WindowOut.of(window) for window in view.windows))
