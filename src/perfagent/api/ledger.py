"""What was foretold, and what came of it."""

from collections.abc import Iterator
from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from perfagent.api.fields import Model, instant
from perfagent.api.parts import TheAgent
from perfagent.api.problems import documented
from perfagent.domain.knob import Knob, KnobValue
from perfagent.domain.metric import Metric
from perfagent.workflows.ledger import Entry

router = APIRouter(tags=["predict"])


class EntryOut(Model):
    """One metric of one change: new / old, as expected and as it came."""

    workflow_id: str
    planned_at: datetime
    service: str
    engine: str
    release: str | None
    changes: dict[Knob, KnobValue]
    metric: Metric
    basis: str
    """Who expected it: the twin, or a rule of thumb."""
    low_ratio: float
    high_ratio: float
    ratio: float
    """As the judge measured it between changed and unchanged replicas."""
    stage: int
    """Percent of the replicas that ran the change then."""
    held: bool
    """Whether it came as expected."""

    @classmethod
    def of(cls, entry: Entry) -> "EntryOut":
        """An entry as callers see it."""
        return cls(
            workflow_id=entry.rollout,
            planned_at=instant(entry.at_s),
            service=entry.service,
            engine=entry.engine,
            release=entry.release,
            changes=dict(entry.change),
            metric=entry.metric,
            basis=entry.basis,
            low_ratio=entry.low_ratio,
            high_ratio=entry.high_ratio,
            ratio=entry.ratio,
            stage=entry.percent,
            held=entry.held,
        )


@router.get(
    "/ledger",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One JSON object a line, oldest first: see EntryOut.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        },
        **documented(),
    },
)
async def ledger(agent: TheAgent) -> StreamingResponse:
    """Every forecast of a change beside what was measured of it, as JSON lines."""

    def lines() -> Iterator[str]:
        for entry in agent.ledger():
            yield EntryOut.of(entry).model_dump_json() + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")
