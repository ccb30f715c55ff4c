"""Server-sent events: what happens to workflows, as it is journalled."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from perfagent.api.fields import instant
from perfagent.api.parts import TheParts
from perfagent.api.problems import documented
from perfagent.api.rollouts import EventOut
from perfagent.domain.errors import Unavailable
from perfagent.ports import Recorded, Subscription

SILENCE_S = 15.0
"""A comment is sent after this, so that proxies do not take a quiet stream for a dead one."""

router = APIRouter(tags=["events"])


async def _subscribed(parts: TheParts) -> AsyncIterator[Subscription]:
    """A subscription that lasts until the response is over, however it ends."""
    with parts.feed.subscribe() as subscription:
        yield subscription


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A stream of events: `event` is the kind, `id` is `workflow:seq`, `data` an EventOut. An "
            "event `missed` tells how many were dropped because the listener did not keep up.",
            "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/EventOut"}}},
        },
        **documented(Unavailable),
    },
)
async def listen(
    subscription: Annotated[Subscription, Depends(_subscribed)],
    workflow_id: Annotated[str | None, Query(max_length=64)] = None,
) -> StreamingResponse:
    """Listen from now on, to one workflow or to all. What happened before is in `/workflows/{id}`."""
    return StreamingResponse(
        _stream(subscription, workflow_id), media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


async def _stream(subscription: Subscription, workflow_id: str | None) -> AsyncIterator[str]:
    yield ": listening\n\n"
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                news = await subscription.next()
        except TimeoutError:
            yield ": still here\n\n"
            continue
        if news is None:
            return
        missed, events = news
        if missed:
            yield f"event: missed\ndata: {json.dumps({'missed': missed})}\n\n"
        for event in events:
            if workflow_id in (None, event.rollout_id):
                yield _written(event)


def _written(event: Recorded) -> str:
    out = EventOut(
        workflow_id=event.rollout_id,
        seq=event.seq,
        at=instant(event.at_s),
        kind=event.kind,
        body=json.loads(event.body),
    )
    return f"event: {event.kind}\nid: {event.rollout_id}:{event.seq}\ndata: {out.model_dump_json()}\n\n"
