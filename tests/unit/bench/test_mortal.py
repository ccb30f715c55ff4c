"""An agent that dies at a call dies before or after what it asked for was done, and never in between."""

import numpy as np
import pytest

from perfagent.bench.mortal import Died, Fate, MortalActuator, MortalJournal
from perfagent.domain.errors import Unreachable
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.snapshot import Target
from perfagent.store.memory import MemoryJournal


class Remembering:
    """An `Actuator` that does nothing but remember."""

    def __init__(self) -> None:
        self.config = LaunchConfig()

    async def read(self, target: Target) -> LaunchConfig:
        return self.config

    async def apply(self, target: Target, config: LaunchConfig) -> None:
        self.config = config

    async def ready(self, target: Target) -> bool:
        return True


ONE, NEW = Target("r0", "http://r0"), LaunchConfig(("--max-num-seqs", "64"))


def test_a_death_at_the_journal_leaves_the_event_written_or_not() -> None:
    found = set()
    for seed in range(20):
        journal = MemoryJournal()
        with pytest.raises(Died):
            MortalJournal(journal, Fate(np.random.default_rng(seed), dies=1.0, deaf=0.0)).append(
                "r1", 0, 1.0, "k", "{}"
            )
        found.add(len(journal.events("r1")))
    assert found == {0, 1}


async def test_a_death_at_a_replica_leaves_it_changed_or_not() -> None:
    found = set()
    for seed in range(20):
        replica, fate = Remembering(), Fate(np.random.default_rng(seed), dies=1.0, deaf=0.0)
        with pytest.raises(Died):
            await MortalActuator(replica, fate).apply(ONE, NEW)
        assert fate.deaths == 1
        found.add(replica.config == NEW)
    assert found == {False, True}


async def test_a_replica_that_does_not_answer_is_not_changed() -> None:
    replica, fate = Remembering(), Fate(np.random.default_rng(1), dies=0.0, deaf=1.0)
    actuator = MortalActuator(replica, fate)
    for call in (actuator.read(ONE), actuator.apply(ONE, NEW), actuator.ready(ONE)):
        with pytest.raises(Unreachable):
            await call
    assert replica.config == LaunchConfig()
