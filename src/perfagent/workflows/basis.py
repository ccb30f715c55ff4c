"""What a plan was made for: the service as it was known, and how each of its replicas was started.

Digests of these stand in the plan, so an approval is bound to them as well. When they have changed before anything was
touched, the plan is made anew.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from hashlib import sha256

from perfagent.domain.knob import LaunchConfig
from perfagent.domain.service import Service

Basis = tuple[tuple[str, str], ...]
"""What it is about, `service` or a replica, with a digest of it."""

SERVICE = "service"
_LENGTH = 16
"""Hexadecimal digits: 64 bits tell a few hundred configurations apart."""


def basis_of(service: Service, launches: Mapping[str, LaunchConfig]) -> Basis:
    """The basis of a plan for a service whose replicas are started so.

    What a policy says of when something may be done is left out: that is looked at when it is done.
    """
    policy = replace(service.policy, cooldown_s=0.0, changes_per_day=None, freezes=())
    replicas = ((target, _digest(asdict(launch))) for target, launch in sorted(launches.items()))
    return ((SERVICE, _digest(asdict(replace(service, policy=policy)))), *replicas)


def outdated(planned: Basis, now: Basis) -> str | None:
    """What has changed since the plan was made, or None. A plan of a release that kept no basis is taken as it is."""
    if not planned or planned == now:
        return None
    before, after = dict(planned), dict(now)
    others = sorted(
        name for name in before.keys() | after.keys() if name != SERVICE and before.get(name) != after.get(name)
    )
    told = ["the service was registered otherwise"] if before[SERVICE] != after[SERVICE] else []
    told += [f"{name} is started otherwise" for name in others]
    return f"since the plan was made, {' and '.join(told)}"


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:_LENGTH]
