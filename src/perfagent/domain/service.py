"""A service: a named set of replicas of one engine and model, with its objectives and what may be done to it."""

from dataclasses import dataclass, field

from perfagent.domain.knob import LaunchConfig
from perfagent.domain.share import Share
from perfagent.domain.slo import Objective
from perfagent.domain.snapshot import Target


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be done to a service without asking, and how carefully."""

    stages: tuple[Share, ...] = (Share(10), Share(50), Share(100))
    approval: str = "risky"
    """`always`, `risky` (what may alter answers) or `never`."""


@dataclass(frozen=True, slots=True)
class Service:
    """Replicas of one engine that serve the same model."""

    id: str
    engine: str
    targets: tuple[Target, ...]
    objectives: tuple[Objective, ...] = ()
    actuator: str = "none"
    """`none` (the agent only tells) or `emulated`."""
    policy: Policy = Policy()
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    """The flags the replicas were started with, as far as somebody told us; read back where the engine allows."""
    release: str | None = None
    """The engine's version, where somebody told us."""
