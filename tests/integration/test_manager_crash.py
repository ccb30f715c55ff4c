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


async def story(deadly: Deadly, kept_in: Database | None, *, harmful: bool) -> Ending:
    """A rollout over two replicas on a manager that `deadly` kills at most once."""
    if kept_in is not None:
        with kept_in.transaction() as connection:
            connection.execute(delete(EVENTS))
    world = World(service(2, stages=(10, 100)), start_delay_s=5.0, scrape_s=6.0, database=kept_in)
    await world.warm_up(60)
    if harmful:
        world.fleet.slowness = lambda config: 3.0 if max_num_seqs(config) == 64 else 1.0
    manager = None
    for _ in range(200):
        try:
            manager = manager or world.manager(deadly=deadly)
            if not manager.rollouts():
                manager.create(request(monitoring_s=60.0))
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
        await world.pass_time(24)
    raise AssertionError("the rollout never ended")


@pytest.mark.parametrize(("harmful", "phase"), [(False, Phase.COMPLETED), (True, Phase.ROLLED_BACK)])
async def test_a_rollout_ends_as_if_nothing_had_happened_wherever_its_manager_dies(
    kept_in: Database | None, harmful: bool, phase: Phase
) -> None:
    alive = Deadly()
    undisturbed = await story(alive, kept_in, harmful=harmful)
    assert undisturbed.phase is phase
    assert [max_num_seqs(config) for config in undisturbed.configs.values()] == ([8, 8] if harmful else [64, 64])
    assert alive.calls > 30
    for call in range(alive.calls):
        for after in (False, True):
            deadly = Deadly(call, after=after)
            ending = await story(deadly, kept_in, harmful=harmful)
            assert ending == undisturbed, f"killed {'after' if after else 'before'} call {call}"
            assert deadly.calls == call + 1
