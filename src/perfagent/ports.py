"""The few seams that the core needs from outside. A port stands here when two real implementations exist."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.learned import Learned
from perfagent.domain.quality import Answer
from perfagent.domain.service import Service
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

    async def read_config(
        self, target: Target, snapshot: Snapshot, launch: LaunchConfig, release: str | None = None
    ) -> EffectiveConfig:
        """How the replica is set: what its endpoints tell, then the flags given, then the release's defaults.

        `release` is what somebody told us; it counts where the server does not say.

        An endpoint that is missing or closed is no error; what only it could tell stays unknown.
        """
        ...


class Prober(Protocol):
    """Asks replicas for answers."""

    async def ask(self, target: Target, engine: str, prompt: str, tokens: int) -> Answer:
        """What the replica answers when it always takes the likeliest token, at most so many of them.

        Raises a subclass of `Unavailable` that says what went wrong.
        """
        ...


class Collector(Protocol):
    """Scrapes whole fleets on a schedule."""

    async def collect(self, targets: Sequence[tuple[Target, str]]) -> Sequence[Snapshot]:
        """Scrape those of the (replica, engine) pairs that are due now; one that fails is remembered, not raised."""
        ...

    def next_due_s(self) -> float:
        """Unix seconds at which the next replica is due; in the past when one is overdue."""
        ...

    def trouble(self, target: str) -> str | None:
        """Why the replica's last scrape failed, or None when it did not."""
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


class Recorded(NamedTuple):
    """An event as it was journalled."""

    rollout_id: str
    seq: int
    at_s: float
    """Unix seconds."""
    kind: str
    body: str
    """JSON."""


class Journal(Protocol):
    """The append-only record of rollouts, one for all agents on a store. What is journalled survives `kill -9`."""

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
        """Record an event, durable on return. Raises `Conflict` when (rollout, seq) exists.

        With the `token` of a lease it raises `LeaseLost` once another agent has got a newer one; what people say needs
        none. With the position `seen` it raises `Conflict` when a rollout was begun after that position.
        """
        ...

    def events(self, rollout_id: str) -> Sequence[tuple[int, float, str, str]]:
        """All events of a rollout as (seq, unix seconds, kind, JSON body), in order; empty for an unknown one."""
        ...

    def after(self, position: int) -> Sequence[tuple[int, Recorded]]:
        """What any agent journalled after that position, each with its own, in order; 0 is before the first.

        Nothing that is journalled later gets a position before one that was told.
        """
        ...


class Tenure(NamedTuple):
    """How an agent found the lease."""

    holder: str
    """Who has it now."""
    token: int | None
    """Ours, or None while another agent has it."""
    now_s: float
    """What the store's clock showed, in unix seconds."""
    left_s: float
    """How long it lasts from then on unless it is renewed."""


class Lease(Protocol):
    """Which of the agents on one store acts: one at a time, by the store's clock. Each next one's token is higher."""

    def claim(self, lease_s: float) -> Tenure:
        """Take it where it is free or has run out, prolong it where it is ours; otherwise tell who has it."""
        ...

    def release(self) -> None:
        """Let another agent have it at once; nothing happens where it is not ours."""
        ...


class Subscription(Protocol):
    """One listener's bounded queue."""

    async def next(self) -> tuple[int, Sequence[Recorded]] | None:
        """Wait for news: how many events were dropped because nobody took them, then the ones kept. None at the end."""
        ...


class Feed(Protocol):
    """Tells whoever listens what is journalled, from now on."""

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """Listen while the context lasts. Raises `Unavailable` when too many listen already."""
        ...


class History(Protocol):
    """Snapshots kept for a while, so that windows outlive the process."""

    def add(self, snapshots: Sequence[Snapshot]) -> None:
        """Keep these, all or none; a second one of the same replica and instant takes the first one's place.

        Forgotten is what lies further before the latest snapshot of all than the retention, and what exceeds the
        bound on snapshots of one replica, oldest first. The first snapshot of each hour stays longer, for `sampled`.
        """
        ...

    def since(self, target: str, start_s: float) -> Sequence[Snapshot]:
        """A replica's snapshots from `start_s` on, strictly rising in time; empty for an unknown replica."""
        ...

    def sampled(self, target: str, start_s: float, every_s: float) -> Sequence[Snapshot]:
        """The first of a replica's snapshots in each `every_s` from `start_s` on, and the newest, rising in time.

        A period without a snapshot is left out. This reaches back further than `since`: there is one snapshot an hour.
        """
        ...


class Services(Protocol):
    """The services that callers registered. They survive a restart."""

    def put(self, service: Service) -> None:
        """Keep this service, in place of the one with the same id."""
        ...

    def get(self, service_id: str) -> Service:
        """The service as it was put. Raises `NotFound`."""
        ...

    def list(self) -> Sequence[Service]:
        """All services by id."""
        ...

    def delete(self, service_id: str) -> None:
        """Forget the service. Raises `NotFound`."""
        ...


class Knowledge(Protocol):
    """What was learned of the step times of servers alike. It survives a restart."""

    def get(self, key: str) -> Learned | None:
        """What is known under this key, or None."""
        ...

    def put(self, key: str, learned: Learned) -> None:
        """Keep it, in place of what was there."""
        ...
