"""Changing replicas a few at a time, watching them, and putting them back.

Each function looks first and changes only what is not yet as it should be, so it may run twice or be cut short
anywhere and run again. None means that nothing new has come of it yet.
"""

import asyncio

from perfagent.domain.errors import ActuatorFailed
from perfagent.ports import Actuator
from perfagent.workflows.events import Applied, CanaryLost, Expired, Restoring, RolledBack, Touching
from perfagent.workflows.machine import overdue
from perfagent.workflows.model import Rollout

CHANGED_BY_OTHERS = "somebody else changed its configuration"


async def apply(
    rollout: Rollout, actuator: Actuator, targets: tuple[str, ...], now_s: float
) -> Touching | Applied | CanaryLost | Expired | None:
    """Bring the stored desired configuration to these replicas, `max_unready` at a time.

    A replica is named in a `Touching` first and changed only when that is journalled. Raises `Unavailable`.
    """
    fresh, waiting = [], 0
    for target_id in targets:
        target, stored = rollout.planned.target(target_id), rollout.captured_of(target_id)
        if await actuator.read(target) not in (stored.prior, stored.desired):
            return CanaryLost(now_s, target_id, CHANGED_BY_OTHERS)
        if target_id not in rollout.touched:
            fresh.append(target_id)
            continue
        await actuator.apply(target, stored.desired)
        try:
            waiting += not await actuator.ready(target)
        except ActuatorFailed as error:
            return CanaryLost(now_s, target_id, f"does not start with the change: {error}")
    room = rollout.planned.pace.max_unready - waiting
    if fresh and room > 0:
        return Touching(now_s, tuple(fresh[:room]))
    if not fresh and not waiting:
        return Applied(now_s)
    return Expired(now_s) if overdue(rollout, now_s) else None


async def watch(rollout: Rollout, actuator: Actuator, now_s: float) -> CanaryLost | None:
    """See that every touched replica still runs the change and has not failed. Raises `Unavailable`.

    Where a stage is still being applied, one that still runs its prior configuration is in order too.
    """
    for target_id in rollout.touched:
        target, stored = rollout.planned.target(target_id), rollout.captured_of(target_id)
        running = await actuator.read(target)
        if running != stored.desired and (rollout.applied_at_s is not None or running != stored.prior):
            return CanaryLost(now_s, target_id, CHANGED_BY_OTHERS)
        try:
            await actuator.ready(target)
        except ActuatorFailed as error:
            return CanaryLost(now_s, target_id, f"failed with the change: {error}")
    return None


async def down(rollout: Rollout, actuator: Actuator) -> list[str]:
    """The touched replicas that do not serve at the moment. Raises `Unavailable` or `ActuatorFailed`."""
    return [each for each in rollout.touched if not await actuator.ready(rollout.planned.target(each))]


async def restore(
    rollout: Rollout, actuator: Actuator, targets: tuple[str, ...], now_s: float
) -> Restoring | RolledBack | None:
    """Give these replicas their stored configuration back: those that are down at once, the others `max_unready` at a
    time, so that a rollback takes no more capacity away than the rollout did.

    It is done when every one reads back as stored; for becoming ready again each has the plan's time and no more. One
    that cannot be restored keeps no other from it. Raises `ActuatorFailed` when it is all that is left.
    """
    down: list[str] = []
    up: list[str] = []
    waiting: list[str] = []
    troubles: list[str] = []
    found = await asyncio.gather(*(_put_back(rollout, actuator, target) for target in targets), return_exceptions=True)
    for target_id, answer in zip(targets, found, strict=True):
        match answer:
            case Exception():
                troubles.append(f"{target_id}: {answer}")
            case BaseException():
                raise answer
            case (False, ready):
                (up if ready else down).append(target_id)
            case (True, False):
                waiting.append(target_id)
    pace, begun_s = rollout.planned.pace, rollout.restoring_at_s
    late = begun_s is not None and now_s >= begun_s + pace.ready_timeout_s
    room = pace.max_unready if late else max(0, pace.max_unready - len(waiting) - len(down))
    if down or up[:room]:
        return Restoring(now_s, (*down, *up[:room]))
    if troubles:
        raise ActuatorFailed("; ".join(troubles))
    return None if up or (waiting and not late) else RolledBack(now_s, tuple(waiting))


async def _put_back(rollout: Rollout, actuator: Actuator, target_id: str) -> tuple[bool, bool]:
    """Whether a replica runs as it was stored, which it is told to once its restoration has begun, and is ready."""
    target, prior = rollout.planned.target(target_id), rollout.captured_of(target_id).prior
    restored = await actuator.read(target) == prior
    if not restored and target_id in rollout.restoring:
        await actuator.apply(target, prior)
        if await actuator.read(target) != prior:
            raise ActuatorFailed("it was told to, but does not run as it was stored")
        restored = True
    try:
        return restored, await actuator.ready(target)
    except ActuatorFailed:
        return restored, False
