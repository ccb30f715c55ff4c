"""Scrape one server now."""

from datetime import datetime

from fastapi import APIRouter

from perfagent.api.fields import (
    EngineName,
    Flags,
    Model,
    ServiceId,
    Slos,
    Url,
    Version,
    instant,
    instant_or_none,
    launch,
    objectives,
)
from perfagent.api.parts import TheAgent
from perfagent.api.problems import documented
from perfagent.api.views import EffectiveOut, MetricOut, gaps_of, metrics_of
from perfagent.domain.errors import (
    BadAnswer,
    Conflict,
    InvalidInput,
    StoreFailed,
    TimedOut,
    TooLarge,
    Unreachable,
    WrongEngine,
)
from perfagent.domain.knob import EffectiveConfig
from perfagent.domain.metric import Metric
from perfagent.domain.snapshot import Snapshot
from perfagent.domain.window import lifetime

router = APIRouter(tags=["collect"])


class CollectIn(Model):
    """Which server, and what is known of it. What is left out stays as it was told before."""

    instance_id: ServiceId
    endpoint: Url
    flags: Flags | None = None
    version: Version | None = None
    slos: Slos | None = None


class CollectOut(Model):
    """One server at one instant."""

    instance_id: str
    target: str
    """The replica's id."""
    engine: str
    collected_at: datetime
    started_at: datetime | None
    """When the server started, where its page says so."""
    metrics: dict[Metric, MetricOut]
    """By our names, series combined; counters and histograms are those since the server started."""
    gaps: dict[Metric, str]
    """What this engine never exports, with the reason."""
    configuration: EffectiveOut

    @classmethod
    def of(cls, instance_id: str, snapshot: Snapshot, config: EffectiveConfig) -> "CollectOut":
        """A snapshot as callers see it."""
        return cls(
            instance_id=instance_id,
            target=snapshot.target,
            engine=snapshot.engine,
            collected_at=instant(snapshot.at_s),
            started_at=instant_or_none(snapshot.started_at_s),
            metrics=metrics_of(lifetime(snapshot)),
            gaps=gaps_of(snapshot.engine),
            configuration=EffectiveOut.of(config),
        )


@router.post(
    "/collect/{engine}",
    responses=documented(InvalidInput, Conflict, Unreachable, BadAnswer, TooLarge, WrongEngine, TimedOut, StoreFailed),
)
async def collect(engine: EngineName, body: CollectIn, agent: TheAgent) -> CollectOut:
    """Scrape a server now, and look after it from now on as a service of one replica.

    Another endpoint under the same id is another server and starts afresh; that is refused while a workflow is under
    way. A first scrape that fails leaves nothing behind.
    """
    snapshot, config = await agent.enrol(
        body.instance_id,
        engine.value,
        body.endpoint,
        launch=launch(body.flags),
        release=body.version,
        objectives=objectives(body.slos),
    )
    return CollectOut.of(body.instance_id, snapshot, config)
