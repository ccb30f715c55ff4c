"""The few seams that the core needs from outside. A port stands here when two real implementations exist."""

from collections.abc import Sequence
from typing import Protocol

from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.snapshot import Snapshot, Target


class Clock(Protocol):
    """Time. Only `clock.py` touches the real one."""

    def now(self) -> float:
        """Unix seconds: for records, and for deadlines that must outlive this process."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump: for durations inside this process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...


class Scraper(Protocol):
    """Reads one replica's metrics."""

    async def scrape(self, target: Target, engine: str | None) -> Snapshot:
        """The replica right now. With `engine` None it is recognised by its page.

        Raises a subclass of `Unavailable` that says what went wrong.
        """
        ...

    async def read_config(self, target: Target, snapshot: Snapshot, launch: LaunchConfig) -> EffectiveConfig:
        """How the replica is set: what its endpoints tell, then the flags given, then the release's defaults.

        An endpoint that is missing or closed is no error; what only it could tell stays unknown.
        """
        ...


class Actuator(Protocol):
    """Changes how replicas run. Every call may be repeated safely."""

    async def read(self, target: Target) -> LaunchConfig:
        """Exactly how the replica is started now. Raises `ActuatorFailed` or `Unavailable`."""
        ...

    async def apply(self, target: Target, config: LaunchConfig) -> None:
        """Run the replica with exactly this configuration; nothing happens when it already does.

        Returns when the change is under way; `ready` tells when it is done. Raises `ActuatorFailed`.
        """
        ...

    async def ready(self, target: Target) -> bool:
        """Whether the replica serves requests with the configuration last applied.

        Raises `ActuatorFailed` when it will not become ready by itself (it failed to start).
        """
        ...


class Journal(Protocol):
    """The append-only record of rollouts. What is journalled survives `kill -9`."""

    def append(self, rollout_id: str, seq: int, at_s: float, kind: str, body: str) -> None:
        """Record an event, durable on return. Raises `Conflict` when (rollout, seq) exists."""
        ...

    def events(self, rollout_id: str) -> Sequence[tuple[int, float, str, str]]:
        """All events of a rollout as (seq, unix seconds, kind, JSON body), in order; empty for an unknown one."""
        ...

    def rollout_ids(self) -> Sequence[str]:
        """Every rollout ever begun, oldest first."""
        ...


class History(Protocol):
    """Snapshots kept for a while, so that windows outlive the process."""

    def add(self, snapshots: Sequence[Snapshot]) -> None:
        """Keep these; older than the retention is forgotten."""
        ...

    def since(self, target: str, start_s: float) -> Sequence[Snapshot]:
        """A replica's snapshots from `start_s` on, in time order."""
        ...
