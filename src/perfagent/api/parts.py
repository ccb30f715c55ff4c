"""What routes are given: the agent they serve, and what else `create_app` was told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from pydantic import JsonValue

from perfagent.loop import Agent
from perfagent.ports import Clock, Feed
from perfagent.workflows.manager import Manager


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything behind the routes."""

    agent: Agent
    clock: Clock
    started_at_s: float
    """On the monotonic clock."""
    settings: Mapping[str, JsonValue]
    """What `/config` shows: no secrets."""
    registry: CollectorRegistry
    feed: Feed


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


async def _agent(request: Request) -> Agent:
    """The agent, having read what others on its store have journalled before the request came."""
    agent = (await _parts(request)).agent
    agent.manager.refresh()
    return agent


async def _rollouts(request: Request) -> Manager:
    return (await _agent(request)).manager


TheParts = Annotated[Parts, Depends(_parts)]
TheAgent = Annotated[Agent, Depends(_agent)]
Rollouts = Annotated[Manager, Depends(_rollouts)]
