"""An agent that may die: in the middle of what it tells the journal or a replica, before that was done or after.

Replicas also fail to answer at times, as they do over a network.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from perfagent.domain.errors import Unreachable
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.snapshot import Target
from perfagent.ports import Actuator, Journal, Recorded


class Died(BaseException):
    """The process ends here: nothing in it may catch this."""


class Fate:
    """When the agent dies, and which calls fail."""

    def __init__(self, rng: np.random.Generator, *, dies: float, deaf: float) -> None:
        """`dies`: the chance at each call that changes something; `deaf`: that a replica does not answer a call."""
        self._rng = rng
        self._dies = dies
        self._deaf = deaf
        self.deaths = 0

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A call that changes something."""
        dies, after = self._rng.random() < self._dies, self._rng.random() < 0.5
        self.deaths += dies
        if dies and not after:
            raise Died
        yield
        if dies:
            raise Died

    def asked(self, target: Target) -> None:
        """A replica is called. Raises `Unreachable` where it does not answer."""
        if self._rng.random() < self._deaf:
            raise Unreachable(f"{target.url} refused the connection")


class MortalActuator:
    """An `Actuator` in the middle of whose calls the agent may die."""

    def __init__(self, actuator: Actuator, fate: Fate) -> None:
        self._actuator = actuator
        self._fate = fate

    async def read(self, target: Target) -> LaunchConfig:
        """How the replica is started."""
        self._fate.asked(target)
        return await self._actuator.read(target)

    async def apply(self, target: Target, config: LaunchConfig) -> None:
        """Run the replica with exactly this configuration."""
        self._fate.asked(target)
        with self._fate.changing():
            await self._actuator.apply(target, config)

    async def ready(self, target: Target) -> bool:
        """Whether the replica serves requests with the configuration last applied."""
        self._fate.asked(target)
        return await self._actuator.ready(target)


class MortalJournal:
    """A `Journal` in the middle of whose calls the agent may die."""

    def __init__(self, journal: Journal, fate: Fate) -> None:
        self._journal = journal
        self._fate = fate

    def append(
        self,
        rollout_id: str,
        seq: int,
        at_s: float,
        kind: str,
        body: str,
        *,
        token: int | None = None,
        seen: int | None = None,
    ) -> None:
        """Record an event."""
        with self._fate.changing():
            self._journal.append(rollout_id, seq, at_s, kind, body, token=token, seen=seen)

    def events(self, rollout_id: str) -> Sequence[tuple[int, float, str, str]]:
        """All events of a rollout."""
        return self._journal.events(rollout_id)

    def after(self, position: int) -> Sequence[tuple[int, Recorded]]:
        """What was journalled after that position."""
        return self._journal.after(position)
