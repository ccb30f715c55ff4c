"""Whole journals as a release writes them, for later releases to fold.

`PYTHONPATH=src:tests python -m support.journals` writes those of the present release to `tests/fixtures/journals`, in a
folder named by its version. What is there is never changed: what is journalled otherwise later gets a story or a folder
of its own.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from perfagent import __version__
from perfagent.domain.errors import Unreachable
from perfagent.domain.freeze import Period
from perfagent.domain.knob import Knob, LaunchConfig
from perfagent.domain.policy import Policy
from perfagent.workflows.model import Phase, Rollout
from support.pages import FIXTURES
from support.rollouts import BEFORE, FEWER_BITS, World, asking, max_num_seqs, request, service

FOLDER = FIXTURES / "journals"
ASKED = tuple(f"{k}: what do you say to this, replica?" for k in range(3))


def ending(rollout: Rollout) -> dict[str, Any]:
    """What a rollout came to, as far as anything may be built on it."""
    return {
        "phase": rollout.phase,
        "seq": rollout.seq,
        "reason": rollout.reason,
        "plan": None if rollout.plan is None else [list(target) for target in _stages(rollout)],
        "approved_by": None if rollout.approval is None else rollout.approval.who,
        "prior": [[stored.target, *stored.prior.flags] for stored in rollout.captured],
        "touched": list(rollout.touched),
        "restoring": list(rollout.restoring),
        "stages": [[record.percent, record.verdict, len(record.looks)] for record in rollout.history],
        "health": rollout.health,
        "deadline_s": rollout.deadline_s,
        "trouble": rollout.trouble,
    }


def _stages(rollout: Rollout) -> list[tuple[object, ...]]:
    return [(stage.percent, *stage.targets) for stage in rollout.planned.stages]


async def told_by_people(world: World) -> Rollout:
    """Approved, paused, resumed and promoted."""
    manager = world.manager()
    begun = manager.create(request(requires_approval=True, auto_rollout=False))
    await world.run(manager, begun.id, until=lambda r: r.phase is Phase.AWAITING_APPROVAL)
    manager.approve(begun.id, "ann", "looks right")
    await world.run(manager, begun.id, until=lambda r: r.phase is Phase.MONITORING)
    manager.pause(begun.id, "bob", "lunch")
    manager.resume(begun.id, "bob", "back again")
    for percent in (10, 50):
        await world.run(manager, begun.id, until=lambda r: r.phase is Phase.HELD)
        manager.promote(begun.id, "ann", "good enough", percent=percent)
    return await world.run(manager, begun.id)


async def stopped_by_the_judge(world: World) -> Rollout:
    """Slower with the change, restored."""
    world.fleet.slowness = lambda config: 2.0 if max_num_seqs(config) == 64 else 1.0
    manager = world.manager()
    return await world.run(manager, manager.create(request(health_threshold=20.0)).id)


async def lost_its_canary(world: World) -> Rollout:
    """Unreachable for a while, then it does not start with the change."""
    manager = world.manager()
    begun = manager.create(request())
    world.fleet.unreachable.add("chat-0")
    await world.run(manager, begun.id, until=lambda r: r.attempts == 1)
    world.fleet.unreachable.clear()
    world.fleet.fails_to_start = lambda config: max_num_seqs(config) == 64
    return await world.run(manager, begun.id)


async def recovered(world: World) -> Rollout:
    """Unreachable while it was watched, then aborted."""
    manager = world.manager()
    begun = manager.create(request())
    await world.run(manager, begun.id, until=lambda r: r.phase is Phase.MONITORING)
    world.fleet.unreachable.add("chat-0")
    await world.run(manager, begun.id, until=lambda r: r.attempts == 1)
    world.fleet.unreachable.clear()
    await world.run(manager, begun.id, until=lambda r: r.attempts == 0)
    manager.abort(begun.id, "ann", "enough")
    return await world.run(manager, begun.id)


async def answered_as_before(world: World) -> Rollout:
    """Fewer bits for the KV cache, and the same answers."""
    world.register(asking(world.service, ASKED))
    manager = world.manager()
    begun = manager.create(request(change=FEWER_BITS))
    await world.run(manager, begun.id, until=lambda r: r.phase is Phase.AWAITING_APPROVAL)
    manager.approve(begun.id, "ann", "let us see")
    return await world.run(manager, begun.id)


async def answered_otherwise(world: World) -> Rollout:
    """Fewer bits for the KV cache, and a replica that is silent at first and then says something else."""
    world.register(asking(world.service, ASKED))
    manager = world.manager()
    begun = manager.create(request(change=FEWER_BITS))
    await world.run(manager, begun.id, until=lambda r: r.phase is Phase.AWAITING_APPROVAL)
    world.fleet.answers = lambda config, prompt: prompt if config == BEFORE else prompt[::-1]
    manager.approve(begun.id, "ann", "let us see")
    await world.run(manager, begun.id, until=lambda r: bool(r.touched))
    world.fleet.speechless.add("chat-0")
    await world.run(manager, begun.id, until=lambda r: bool(r.history[-1].quality))
    world.fleet.speechless.clear()
    await world.run(manager, begun.id, until=lambda r: r.phase is Phase.HELD)
    manager.abort(begun.id, "bob", "these are bad")
    return await world.run(manager, begun.id)


async def rejected(world: World) -> Rollout:
    """A person did not want it."""
    manager = world.manager()
    begun = manager.create(request(requires_approval=True))
    await world.run(manager, begun.id, until=lambda r: r.phase is Phase.AWAITING_APPROVAL)
    return manager.reject(begun.id, "bob", "not before the holidays")


async def expired(world: World) -> Rollout:
    """Nobody decided."""
    manager = world.manager()
    return await world.run(manager, manager.create(request(requires_approval=True)).id, tick_s=3600.0)


async def nothing_to_do(world: World) -> Rollout:
    """It runs so already."""
    manager = world.manager()
    return await world.run(manager, manager.create(request(change={Knob.MAX_NUM_SEQS: 8})).id)


async def refused(world: World) -> Rollout:
    """What must not be done."""
    manager = world.manager()
    return await world.run(manager, manager.create(request(change={Knob.MAX_NUM_SEQS: -1})).id)


async def under_way(world: World) -> Rollout:
    """Not at its end: the release that reads it goes on with it."""
    manager = world.manager()
    begun = manager.create(request())
    world.survey_fails = Unreachable("nobody there")
    await world.run(manager, begun.id, until=lambda r: r.attempts == 1)
    world.survey_fails = None
    return await world.run(manager, begun.id, until=lambda r: r.stage == 1 and r.phase is Phase.MONITORING)


async def frozen(world: World) -> Rollout:
    """Somebody edits the fleet before anything is touched; then a freeze, between the stages."""
    manager = world.manager()
    begun = manager.create(request(requires_approval=True))
    for why in ("looks right", "still does"):
        await world.run(manager, begun.id, until=lambda r: r.phase is Phase.AWAITING_APPROVAL)
        world.fleet.restart("chat-1", LaunchConfig(("--max-num-seqs", "8")))
        manager.approve(begun.id, "ann", why)
    await world.run(manager, begun.id, until=lambda r: r.stage == 0 and r.phase is Phase.MONITORING)
    period = Period(world.clock.now(), world.clock.now() + 3600.0, "lunch")
    world.register(replace(world.service, policy=Policy(freezes=(period,))))
    return await world.run(manager, begun.id)


async def edited(world: World) -> Rollout:
    """Somebody changes a replica and puts it back."""
    manager = world.manager()
    begun = manager.create(request())
    await world.run(manager, begun.id, until=lambda r: r.phase is Phase.MONITORING)
    for config in (LaunchConfig(("--max-num-seqs", "32", "--seed=7"), BEFORE.env), BEFORE):
        world.fleet.restart("chat-1", config)
        await world.run(manager, begun.id, until=lambda r: bool(r.edits) is (config != BEFORE))  # noqa: B023
    await world.pass_time(60)
    manager.resume(begun.id, "bob", "put back")
    return await world.run(manager, begun.id)


async def taken_over(world: World) -> Rollout:
    """A replica cannot be reached by the rollback, until a person has enough of it."""
    manager = world.manager()
    begun = manager.create(request())
    await world.run(manager, begun.id, until=lambda r: r.stage == 2 and r.phase is Phase.MONITORING)
    manager.abort(begun.id, "ann", "enough")
    await world.run(manager, begun.id, until=lambda r: bool(r.restored))
    world.fleet.unreachable.add("chat-1")
    await world.run(manager, begun.id, until=lambda r: bool(r.attempts))
    return manager.take_over(begun.id, "bob", "its machine burnt down")


STORIES: tuple[Callable[[World], Awaitable[Rollout]], ...] = (
    told_by_people,
    stopped_by_the_judge,
    lost_its_canary,
    recovered,
    answered_as_before,
    answered_otherwise,
    rejected,
    expired,
    nothing_to_do,
    refused,
    under_way,
    frozen,
    edited,
    taken_over,
)


async def _write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for story in STORIES:
        path = folder / f"{story.__name__}.json"
        if path.exists():
            continue
        world = World(service(2))
        await world.warm_up()
        rollout = await story(world)
        events = [(kind, body) for _, _, kind, body in world.journal.events(rollout.id)]
        told = {"ending": ending(rollout), "events": events}
        path.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(_write(FOLDER / __version__))
