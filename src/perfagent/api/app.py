"""The REST application, put together from its routers. Everything behind it is an argument."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from pydantic import JsonValue

from perfagent import __version__
from perfagent.api import (
    about,
    analyze,
    collect,
    drift,
    events,
    health,
    incidents,
    ledger,
    optimize,
    predict,
    problems,
    services,
    slos,
    workflows,
)
from perfagent.api.limits import BodyLimit
from perfagent.api.parts import Parts, TheParts
from perfagent.api.rollouts import EventOut
from perfagent.loop import Agent
from perfagent.ports import Clock, Feed

PREFIX = "/api/v1"


def create_app(
    agent: Agent,
    *,
    clock: Clock,
    settings: Mapping[str, JsonValue],
    registry: CollectorRegistry,
    feed: Feed,
    started_at_s: float | None = None,
) -> FastAPI:
    """The application that serves an agent; whoever calls this runs the agent's loop beside it.

    `clock` measures uptime (the real one, also where the agent's is virtual) and `started_at_s` is its monotonic time
    at the start, now by default. `settings` are shown by `/config`, so they hold no secrets. `registry` is what
    `/metrics` answers, `feed` what `/events` tells.
    """
    app = FastAPI(
        title="Performance agent",
        version=__version__,
        summary="Finds what holds a language-model server back, proposes the flags to change, and rolls them out.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=f"{PREFIX}/docs",
        redoc_url=None,
        generate_unique_id_function=_operation_id,
    )
    app.state.parts = Parts(
        agent=agent,
        clock=clock,
        started_at_s=clock.monotonic() if started_at_s is None else started_at_s,
        settings=settings,
        registry=registry,
        feed=feed,
    )
    for part in (
        health,
        about,
        collect,
        analyze,
        optimize,
        workflows,
        services,
        predict,
        incidents,
        ledger,
        slos,
        drift,
        events,
    ):
        app.include_router(part.router, prefix=PREFIX)
    app.include_router(_metrics)
    app.add_middleware(BodyLimit)
    problems.install(app)
    _complete_openapi(app)
    return app


_metrics = APIRouter(tags=["metrics"])


@_metrics.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Our own metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems.documented(),
    },
)
async def metrics(request: Request, parts: TheParts) -> Response:
    """Our own metrics, for Prometheus."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(parts.registry), media_type=content_type)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _complete_openapi(app: FastAPI) -> None:
    """Add what routes do not tell: schemas that are only referred to by name, and bodies that cannot be read."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document: dict[str, Any] = plain()
        problems.document_bodies(each for verbs in document["paths"].values() for each in verbs.values())
        schemas = document["components"]["schemas"]
        for model in (problems.Problem, EventOut):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        return document

    app.openapi = openapi  # type: ignore[method-assign]
