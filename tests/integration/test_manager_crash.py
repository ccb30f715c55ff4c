"""The manager dies before and after every single port call of a rollout, and another one takes over.

What dies is the process: the journal, the history and the fleet live on, and so does the lease until it runs out. The
rollout must end as if nothing had happened, and the fleet as if nobody had died.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import delete

from perfagent.domain.knob import LaunchConfig
from perfagent.domain.verdict import Verdict
from perfagent.store.database import Database, open_database
from perfagent.store.tables import EVENTS
from perfagent.workflows.events import Paused, Resumed
from perfagent.workflows.manager import Manager
from perfagent.workflows.model import Phase
from support.rollouts import Deadly, Killed, World, max_num_seqs, request, service


@dataclass(frozen=True)
class Ending:
    """What must be the same with and without a death."""

    phase: Phase
    configs: dict[str, LaunchConfig]
    touched: tuple[str, ...]
    stages: list[tuple[int, Verdict | None]]
    changes: int


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def kept_in(request: pytest.FixtureRequest) -> Iterator[Database | None]:
    """Where the journal and the lease are kept; None is in memory."""
    if request.param == "memory":
        yield None
        return
    url = request.getfixturevalue("server").new_database() if request.param == "postgres" else None
    with open_database(url) as database:
        yield database


@dataclass(frozen=True)
class Story:
    """What becomes of a rollout over two replicas, and what people say on the way."""

    phase: Phase
    harmful: bool = False
    by_people: bool = False
    """Somebody approves it, promotes its stages, lets it wait and go on, and then wants everything back."""


PROMOTED, UNDONE = Story(Phase.COMPLETED), Story(Phase.ROLLED_BACK, harmful=True)
BY_PEOPLE = Story(Phase.ROLLED_BACK, by_people=True)

CALLED = {"read", "apply", "ready", "append", "after", "since", "sampled", "get", "survey", "claim"}
"""Every call that a manager makes of the world outside: to replicas, journal, history, services and lease."""


async def story(deadly: Deadly, kept_in: Database | None, told: Story) -> Ending:
    """The story on a manager that `deadly` kills at most once."""
    if kept_in is not None:
        with kept_in.transaction() as connection:
            connection.execute(delete(EVENTS))
    world = World(service(2, stages=(10, 100)), start_delay_s=5.0, scrape_s=6.0, database=kept_in)
    await world.warm_up(130)
    if told.harmful:
        world.fleet.slowness = lambda config: 3.0 if max_num_seqs(config) == 64 else 1.0
    asked = request(monitoring_s=60.0, requires_approval=told.by_people, auto_rollout=not told.by_people)
    manager = None
    for _ in range(200):
        try:
            manager = manager or world.manager(deadly=deadly)
            world.lead.renew()
            manager.refresh()
            if not manager.rollouts():
                manager.create(asked)
            if told.by_people:
                speak(manager)
            await manager.tick()
        except Killed:
            manager = world.manager()
            continue  # the next process starts at once
        (rollout,) = manager.rollouts()
        if not rollout.active:
            assert world.manager().get(rollout.id) == rollout
            stages = [(record.percent, record.verdict) for record in rollout.history]
            configs = dict(world.fleet.configs)
            return Ending(rollout.phase, configs, rollout.touched, stages, len(world.fleet.applied))
        await world.pass_time(36)
    raise AssertionError("the rollout never ended")


def speak(manager: Manager) -> None:
    """What a person says to the rollout as it stands; who got no answer looks at it again and says it then."""
    (rollout,) = manager.rollouts()
    said = {type(event) for _, event in manager.events(rollout.id)}
    match rollout.phase:
        case Phase.AWAITING_APPROVAL:
            manager.approve(rollout.id, "ann", "it is quiet")
        case Phase.MONITORING if Paused not in said:
            manager.pause(rollout.id, "ann", "lunch")
        case Phase.HELD if Resumed not in said:
            manager.resume(rollout.id, "ann", "back")
        case Phase.HELD if rollout.stage == 0:
            manager.promote(rollout.id, "ann", "looks good", percent=10)
        case Phase.MONITORING if rollout.stage == 1:
            manager.abort(rollout.id, "ann", "changed my mind")


@pytest.mark.timeout(600)  # some three hundred rollouts, each of which must reach its end
@pytest.mark.parametrize("told", [PROMOTED, UNDONE, BY_PEOPLE], ids=["promoted", "undone", "by people"])
async def test_a_rollout_ends_as_if_nothing_had_happened_wherever_its_manager_dies(
    kept_in: Database | None, told: Story
) -> None:
    alive = Deadly()
    undisturbed = await story(alive, kept_in, told)
    assert undisturbed.phase is told.phase
    left = 64 if told is PROMOTED else 8
    assert [max_num_seqs(config) for config in undisturbed.configs.values()] == [left, left]
    assert alive.ports == CALLED | ({"events"} if told.by_people else set())
    for call in range(alive.calls):
        for after in (False, True):
            deadly = Deadly(call, after=after)
            ending = await story(deadly, kept_in, told)
            assert ending == undisturbed, f"killed {'after' if after else 'before'} call {call}"
            assert deadly.calls == call + 1
