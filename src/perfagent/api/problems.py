"""Every error a caller can get, as `application/problem+json` (RFC 9457), from one table.

`type` is a stable name to branch on, `detail` is for people. What nobody foresaw is logged, and answered without
telling how the agent looks inside.
"""

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from perfagent.domain.errors import (
    ActuatorFailed,
    AgentError,
    BadAnswer,
    Conflict,
    IllegalTransition,
    InvalidInput,
    LeaseLost,
    NotFound,
    NotScraped,
    StoreFailed,
    TimedOut,
    TooLarge,
    Unavailable,
    Unreachable,
    WrongEngine,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:perfagent:problem:"
MOST_FIELDS = 50
"""Fields that one validation problem names."""

_LOG = logging.getLogger(__name__)


class Kind(NamedTuple):
    """How an error is answered."""

    status: int
    slug: str
    title: str


KINDS: dict[type[AgentError], Kind] = {
    InvalidInput: Kind(422, "invalid-input", "The request cannot be meant"),
    NotFound: Kind(404, "not-found", "There is no such thing"),
    NotScraped: Kind(409, "not-scraped", "Nothing recent is known about it"),
    Conflict: Kind(409, "conflict", "It collides with what is there or under way"),
    IllegalTransition: Kind(409, "illegal-transition", "That does not apply to the workflow as it stands"),
    LeaseLost: Kind(409, "lease-lost", "Another agent acts by now"),
    Unreachable: Kind(502, "unreachable", "The server cannot be reached"),
    TimedOut: Kind(504, "timed-out", "The server was too slow"),
    BadAnswer: Kind(502, "bad-answer", "The server answered, but not with what was asked for"),
    TooLarge: Kind(502, "too-large", "The server's answer is larger than we read"),
    WrongEngine: Kind(502, "wrong-engine", "The page is another engine's, or of none that we know"),
    ActuatorFailed: Kind(502, "actuator-failed", "A change could not be made"),
    StoreFailed: Kind(503, "store-failed", "The agent's records cannot be used"),
    Unavailable: Kind(503, "unavailable", "Something that is needed is not available"),
    AgentError: Kind(500, "internal", "Something went wrong inside the agent"),
}

INVALID_FIELDS = Kind(422, "invalid-fields", "Fields are missing, unknown or out of range")
_NO_JSON = Kind(400, "bad-request", "The body is no JSON that can be read")
_TOO_MUCH = Kind(413, "body-too-large", "The body is larger than we read")
_HTTP_SLUGS = {404: "no-such-path", _TOO_MUCH.status: _TOO_MUCH.slug}
"""Where the status's own phrase would say less; other statuses are named by it."""
_INTERNAL = KINDS[AgentError]


class FieldError(BaseModel):
    """What is wrong with one field."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    field: str = Field(description="Where: `body.slo_targets.0.metric_name`.")
    reason: str


class Problem(BaseModel):
    """An error, as RFC 9457 describes one."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: str = Field(description="Stable name of the kind of problem.", examples=[TYPE_PREFIX + "unreachable"])
    title: str
    status: int
    detail: str
    instance: str = Field(description="Path of the request.")
    fields: tuple[FieldError, ...] | None = Field(None, description="Only where fields of the request are at fault.")


def kind_of(error: AgentError) -> Kind:
    """How an error is answered: as its nearest class in the table."""
    return next(KINDS[each] for each in type(error).__mro__ if each in KINDS)


def documented(*errors: type[AgentError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of a route that may raise these; every route may also find its fields at fault."""
    by_status: dict[int, list[Kind]] = {INVALID_FIELDS.status: [INVALID_FIELDS], _INTERNAL.status: [_INTERNAL]}
    for error in errors:
        kind = KINDS[error]
        by_status.setdefault(kind.status, []).append(kind)
    return {status: _response(*kinds) for status, kinds in sorted(by_status.items())}


def document_bodies(operations: Iterable[dict[str, Any]]) -> None:
    """Add to OpenAPI operations that take a body how one is answered that cannot be read."""
    for operation in operations:
        if "requestBody" in operation:
            operation["responses"] |= {str(kind.status): _response(kind) for kind in (_NO_JSON, _TOO_MUCH)}


def _response(*kinds: Kind) -> dict[str, Any]:
    return {
        "description": "; ".join(f"`{kind.slug}`: {kind.title}" for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def answer(kind: Kind, detail: str, path: str, fields: tuple[FieldError, ...] | None = None) -> JSONResponse:
    """The problem as a response."""
    problem = Problem(
        type=TYPE_PREFIX + kind.slug,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=path,
        fields=fields,
    )
    return JSONResponse(problem.model_dump(exclude_none=True), kind.status, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of this app as a problem."""

    @app.exception_handler(AgentError)
    async def agent_error(request: Request, error: AgentError) -> JSONResponse:
        kind = kind_of(error)
        if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _LOG.warning("%s %s: %s", request.method, request.url.path, error)
        return answer(kind, str(error), request.url.path)

    @app.exception_handler(RequestValidationError)
    async def invalid_fields(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = error.errors()
        fields = tuple(
            FieldError(field=".".join(str(part) for part in fault["loc"]), reason=fault["msg"])
            for fault in faults[:MOST_FIELDS]
        )
        detail = "; ".join(f"{each.field}: {each.reason}" for each in fields[:3])
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        return answer(INVALID_FIELDS, detail + more, request.url.path, fields)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        slug = _HTTP_SLUGS.get(error.status_code, phrase.lower().replace(" ", "-"))
        detail = f"{request.method} {request.url.path}: {error.detail}"
        response = answer(Kind(error.status_code, slug, phrase), detail, request.url.path)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(_INTERNAL, "It is in the agent's log.", request.url.path)
