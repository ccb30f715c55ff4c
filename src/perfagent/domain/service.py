"""A service: a named set of replicas of one engine and model, with its objectives and what may be done to it."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from perfagent.domain.errors import InvalidInput
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.machine import Machine
from perfagent.domain.policy import Policy, check_stages
from perfagent.domain.slo import Objective
from perfagent.domain.snapshot import Target


@dataclass(frozen=True, slots=True)
class Service:
    """Replicas of one engine that serve the same model."""

    id: str
    engine: str
    targets: tuple[Target, ...]
    objectives: tuple[Objective, ...] = ()
    actuator: str = "none"
    """`none` (the agent only tells), `emulated`, or `process`: a process of the agent's own machine."""
    policy: Policy = field(default_factory=Policy)
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    """The flags the replicas were started with, as far as somebody told us; read back where the engine allows."""
    release: str | None = None
    """The engine's version, where somebody told us."""
    machine: Machine = field(default_factory=Machine)
    """What a replica computes on and with, where somebody told us."""


def replica(service: str, url: str) -> Target:
    """The replica of a service at an address; its id follows from both, so another address is another replica.

    A trailing slash or `/metrics` is dropped. Raises `InvalidInput` for what is no plain address of a server.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"{url!r} is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidInput(f"{url!r} is no address: it begins with http:// or https:// and names a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidInput("an address holds no credentials, query or fragment: scheme, host, port and path alone")
    path = parts.path.rstrip("/").removesuffix("/metrics").rstrip("/")
    where = f"[{host}]" if ":" in host else host
    number = port if port is not None else {"http": 80, "https": 443}[parts.scheme]
    return Target(f"{service}/{where}:{number}{path}", f"{parts.scheme}://{where}:{number}{path}")


def check_service(service: Service) -> None:
    """Raise `InvalidInput` for a service that could not be looked after: no replicas, one twice, odd stages."""
    if not service.targets:
        raise InvalidInput("a service has at least one replica")
    ids = [target.id for target in service.targets]
    twice = next((target for target in ids if ids.count(target) > 1), None)
    if twice is not None:
        raise InvalidInput(f"replica {twice} is named twice")
    check_stages(service.policy.stages)
