"""Changing replicas a few at a time, watching them, and putting them back.

Each function looks first and changes only what is not yet as it should be, so it may run twice or be cut short
anywhere and run again. None means that nothing new has come of it yet.
"""

import asyncio
from collections.abc import Collection

from perfagent.domain.errors import ActuatorFailed, Unavailable
from perfagent.domain.knob import LaunchConfig
from perfagent.ports import Actuator
from perfagent.workflows.differing import differing
from perfagent.workflows.due import overdue
from perfagent.workflows.events import Applied, CanaryLost, Drifted, Expired, Restored, Restoring, RolledBack, Touching
from perfagent.workflows.model import Captured, Edit, Rollout


async def edits(rollout: Rollout, actuator: Actuator, needed: Collection[str]) -> tuple[Edit, ...]:
    """The replicas that somebody else has changed since their configuration was stored.

    One that is not `needed` and cannot be read is passed over. Raises `Unavailable`.
    """
    plan, found = rollout.planned, []
    reads = (actuator.read(plan.target(stored.target)) for stored in rollout.captured)
    for stored, answer in zip(rollout.captured, await asyncio.gather(*reads, return_exceptions=True), strict=True):
        match answer:
            case LaunchConfig() as running:
                wanted = stored.desired if stored.target in rollout.touched else stored.prior
                if not _as_left(rollout, stored, running):
                    found.append(Edit(stored.target, differing(plan.engine, plan.release, running, wanted)))
            case Unavailable() if stored.target not in needed:
                pass
            case error:
                raise error
    return tuple(found)


def _as_left(rollout: Rollout, stored: Captured, running: LaunchConfig) -> bool:
    """Whether a replica runs as this rollout has left it.

    One that is being changed may run with either configuration, or with one's flags and the other's environment: a
    process may have ended between the two.
    """
    if stored.target not in rollout.touched:
        return running == stored.prior
    if stored.target in rollout.confirmed:
        return running == stored.desired
    either = (stored.prior, stored.desired)
    return running.flags in {one.flags for one in either} and running.env in {one.env for one in either}


async def apply(
    rollout: Rollout, actuator: Actuator, targets: tuple[str, ...], now_s: float
) -> Touching | Applied | CanaryLost | Drifted | Expired | None:
    """Bring the stored desired configuration to these replicas, `max_unready` at a time.

    A replica is named in a `Touching` first and changed only when that is journalled; nothing is changed as long as
    somebody else's change to any replica is found. Raises `Unavailable`.
    """
    drifted = await edits(rollout, actuator, targets)
    if drifted:
        return Drifted(now_s, drifted)
    fresh, waiting = [], 0
    for target_id in targets:
        if target_id not in rollout.touched:
            fresh.append(target_id)
            continue
        target = rollout.planned.target(target_id)
        await actuator.apply(target, rollout.captured_of(target_id).desired)
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


async def watch(rollout: Rollout, actuator: Actuator, now_s: float) -> CanaryLost | Drifted | None:
    """See that every replica runs as it was left, and that no touched one has failed. Raises `Unavailable`.

    What somebody else has changed is told once; whether it starts is not this rollout's concern.
    """
    drifted = await edits(rollout, actuator, rollout.touched)
    if drifted != rollout.edits:
        return Drifted(now_s, drifted)
    for target_id in rollout.touched:
        if any(edit.target == target_id for edit in drifted):
            continue
        try:
            await actuator.ready(rollout.planned.target(target_id))
        except ActuatorFailed as error:
            return CanaryLost(now_s, target_id, f"failed with the change: {error}")
    return None


async def down(rollout: Rollout, actuator: Actuator) -> list[str]:
    """The touched replicas that do not serve at the moment. Raises `Unavailable` or `ActuatorFailed`."""
    return [each for each in rollout.touched if not await actuator.ready(rollout.planned.target(each))]


async def restore(
    rollout: Rollout, actuator: Actuator, targets: tuple[str, ...], now_s: float
) -> Restoring | Restored | RolledBack | None:
    """Give these replicas their stored configuration back: those that are down at once, the others `max_unready` at a
    time, so that a rollback takes no more capacity away than the rollout did.

    It is done when every one reads back as stored, or as somebody else has set it meanwhile; for becoming ready again
    each has the plan's time and no more. One that cannot be restored keeps no other from it. Raises `ActuatorFailed`
    when it is all that is left.
    """
    down: list[str] = []
    up: list[str] = []
    restored: list[str] = []
    waiting: list[str] = []
    left: list[Edit] = []
    troubles: list[str] = []
    found = await asyncio.gather(*(_put_back(rollout, actuator, target) for target in targets), return_exceptions=True)
    for target_id, answer in zip(targets, found, strict=True):
        match answer:
            case Exception():
                troubles.append(f"{target_id}: {answer}")
            case BaseException():
                raise answer
            case Edit():
                left.append(answer)
            case (False, ready):
                (up if ready else down).append(target_id)
            case (True, ready):
                restored.append(target_id)
                waiting += [] if ready else [target_id]
    fresh = tuple(target_id for target_id in restored if target_id not in rollout.restored)
    if fresh:
        return Restored(now_s, fresh)
    pace, begun_s = rollout.planned.pace, rollout.restoring_at_s
    late = begun_s is not None and now_s >= begun_s + pace.ready_timeout_s
    room = pace.max_unready if late else max(0, pace.max_unready - len(waiting) - len(down))
    if down or up[:room]:
        return Restoring(now_s, (*down, *up[:room]))
    if troubles:
        raise ActuatorFailed("; ".join(troubles))
    return None if up or (waiting and not late) else RolledBack(now_s, tuple(waiting), tuple(left))


async def _put_back(rollout: Rollout, actuator: Actuator, target_id: str) -> tuple[bool, bool] | Edit:
    """Whether a replica runs as it was stored, which it is told to once its restoration has begun, and is ready; or how
    somebody else has set it, which is left so."""
    plan, target, stored = rollout.planned, rollout.planned.target(target_id), rollout.captured_of(target_id)
    running = await actuator.read(target)
    if _elses(rollout, stored, running):
        return Edit(target_id, differing(plan.engine, plan.release, running, stored.prior))
    restored = running == stored.prior
    if not restored and target_id in rollout.restoring:
        await actuator.apply(target, stored.prior)
        running = await actuator.read(target)
        if running != stored.prior:
            how = differing(plan.engine, plan.release, running, stored.prior)
            raise ActuatorFailed(f"it was told to, but does not run as it was stored: {how}")
        restored = True
    try:
        return restored, await actuator.ready(target)
    except ActuatorFailed:
        return restored, False


def _elses(rollout: Rollout, stored: Captured, running: LaunchConfig) -> bool:
    """Whether what a replica runs with in a rollback is surely somebody else's.

    That is so where it was seen to run the change and its restoration has not begun, or where it was seen restored.
    Anything else may be what the rollout itself has left, and a rollback that leaves that would be none.
    """
    if running in (stored.prior, stored.desired):
        return False
    seen = stored.target in rollout.confirmed and stored.target not in rollout.restoring
    return seen or stored.target in rollout.restored
