"""Rollouts: begun at once, run by the loop, and told by people what to do."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from starlette.requests import Request as HttpRequest

from perfagent.api.fields import Model
from perfagent.api.parts import Rollouts, TheAgent
from perfagent.api.problems import documented
from perfagent.api.rollouts import ApproveIn, PromoteIn, Said, WorkflowDetailOut, WorkflowIn, WorkflowOut
from perfagent.domain.errors import Conflict, IllegalTransition, InvalidInput, NotFound, StoreFailed
from perfagent.workflows.model import Phase

router = APIRouter(prefix="/workflows", tags=["workflows"])

_VERB = documented(NotFound, IllegalTransition, Conflict, StoreFailed)


class WorkflowsOut(Model):
    """A page of workflows, newest first."""

    workflows: tuple[WorkflowOut, ...]
    next: str | None
    """Give it as `before` to go on; null at the end."""


@router.post("", status_code=201, responses=documented(InvalidInput, NotFound, Conflict, StoreFailed))
async def start_workflow(body: WorkflowIn, agent: TheAgent, http: HttpRequest, response: Response) -> WorkflowOut:
    """Begin a rollout. It answers at once; the loop plans and runs it."""
    engine = None if body.instance_type is None else body.instance_type.value
    workflow = WorkflowOut.of(agent.roll_out(body.request(), engine=engine))
    response.headers["location"] = f"{http.url.path}/{workflow.workflow_id}"
    return workflow


@router.get("", responses=documented(NotFound, StoreFailed))
async def list_workflows(
    rollouts: Rollouts,
    service: Annotated[str | None, Query(max_length=128)] = None,
    status: Phase | None = None,
    before: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> WorkflowsOut:
    """Workflows, newest first."""
    newest_first = list(reversed(rollouts.rollouts()))
    if before is not None:
        newest_first = newest_first[newest_first.index(rollouts.get(before)) + 1 :]
    wanted = [r for r in newest_first if service in (None, r.request.service) and status in (None, r.phase)]
    page = wanted[:limit]
    return WorkflowsOut(
        workflows=tuple(WorkflowOut.of(rollout) for rollout in page),
        next=page[-1].id if len(wanted) > limit else None,
    )


@router.get("/{workflow_id}", responses=documented(NotFound, StoreFailed))
async def get_workflow(workflow_id: str, rollouts: Rollouts) -> WorkflowDetailOut:
    """A workflow with its plan, what was judged, and everything that happened."""
    return WorkflowDetailOut.of(rollouts.get(workflow_id), rollouts.events(workflow_id))


@router.post("/{workflow_id}/approve", responses=_VERB)
async def approve_workflow(workflow_id: str, body: ApproveIn, rollouts: Rollouts) -> WorkflowOut:
    """Agree to the plan. Safe to repeat."""
    return WorkflowOut.of(rollouts.approve(workflow_id, body.who, body.why, body.plan_hash))


@router.post("/{workflow_id}/reject", responses=_VERB)
async def reject_workflow(workflow_id: str, body: Said, rollouts: Rollouts) -> WorkflowOut:
    """Refuse the plan: nothing is touched. Safe to repeat."""
    return WorkflowOut.of(rollouts.reject(workflow_id, body.who, body.why))


@router.post("/{workflow_id}/pause", responses=_VERB)
async def pause_workflow(workflow_id: str, body: Said, rollouts: Rollouts) -> WorkflowOut:
    """Hold it where it is; replicas with the change keep it. Safe to repeat."""
    return WorkflowOut.of(rollouts.pause(workflow_id, body.who, body.why))


@router.post("/{workflow_id}/resume", responses=_VERB)
async def resume_workflow(workflow_id: str, body: Said, rollouts: Rollouts) -> WorkflowOut:
    """Let it go on where it was held. Safe to repeat."""
    return WorkflowOut.of(rollouts.resume(workflow_id, body.who, body.why))


@router.post("/{workflow_id}/abort", responses=_VERB)
async def abort_workflow(workflow_id: str, body: Said, rollouts: Rollouts) -> WorkflowOut:
    """Put everything back as it was, and stop. Safe to repeat."""
    return WorkflowOut.of(rollouts.abort(workflow_id, body.who, body.why))


@router.post("/{workflow_id}/promote", responses=_VERB)
async def promote_workflow(workflow_id: str, body: PromoteIn, rollouts: Rollouts) -> WorkflowOut:
    """Go on to the next stage without the judge. Safe to repeat when `stage` is given."""
    return WorkflowOut.of(rollouts.promote(workflow_id, body.who, body.why, percent=body.stage))


@router.post("/{workflow_id}/take-over", responses=_VERB)
async def take_over_workflow(workflow_id: str, body: Said, rollouts: Rollouts) -> WorkflowOut:
    """End a rollback that cannot be done: a person sees to the replicas in `unrestored`. Safe to repeat."""
    return WorkflowOut.of(rollouts.take_over(workflow_id, body.who, body.why))
