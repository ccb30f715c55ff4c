"""Whether this agent is the one that acts, as far as it can be sure.

The store gives the lease to one agent at a time, and refuses what a former holder writes. What is done outside the
store no database can refuse: so an agent stops acting well before its lease runs out, by its own clock, counted from
before it asked.
"""

import logging

from perfagent.domain.errors import LeaseLost, StoreFailed
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.snapshot import Target
from perfagent.ports import Actuator, Clock, Lease

LEASE_S = 15.0
"""How long a lease lasts that is not renewed. This and the two shares below are what Kubernetes' controllers use:
LeaseDuration, RetryPeriod and RenewDeadline in k8s.io/component-base/config/v1alpha1 (15 s, 2 s, 10 s)."""
RENEWED_AFTER = 2 / 15
"""Of the lease: how often it is renewed, or asked for."""
TRUSTED_FOR = 10 / 15
"""Of the lease: how long its holder acts on it without having renewed it."""

_LOG = logging.getLogger(__name__)


class Leadership:
    """This agent's part in the lease. `clock` is the real one: another agent's patience knows no virtual time."""

    def __init__(self, lease: Lease, clock: Clock, lease_s: float = LEASE_S) -> None:
        self._lease = lease
        self._clock = clock
        self._lease_s = lease_s
        self._token: int | None = None
        self._asked_s = 0.0
        self._left_s = lease_s
        self.holder = ""
        """Who acts, as of the last time that the store was asked."""
        self.offset_s = 0.0
        """Seconds that the store's clock is ahead of this process's."""

    @property
    def token(self) -> int | None:
        """What this agent's writes carry; None while it must not act."""
        trusted = self._clock.monotonic() - self._asked_s < TRUSTED_FOR * self._lease_s
        return self._token if trusted else None

    def renew(self) -> None:
        """Ask the store for the lease, or for more of it. Raises `StoreFailed`."""
        before = self._token
        asked_s, started_s = self._clock.monotonic(), self._clock.now()
        tenure = self._lease.claim(self._lease_s)
        # half of the time that the answer took: the store looked at its clock somewhere in between
        self.offset_s = tenure.now_s - (started_s + self._clock.now()) / 2
        self._asked_s, self._token = asked_s, tenure.token
        self._left_s, self.holder = tenure.left_s, tenure.holder
        if before != tenure.token:
            _LOG.info("%s acts (%s)", tenure.holder, "this agent" if tenure.token is not None else "this one stands by")

    async def keep(self) -> None:
        """Renew for ever, beside a loop whose turns may outlast the lease; another's is asked for when it runs out."""
        while True:
            await self._clock.sleep(min(RENEWED_AFTER * self._lease_s, self._left_s))
            self._left_s = self._lease_s  # as long as the store tells nothing else
            try:
                self.renew()
            except StoreFailed as error:
                _LOG.warning("the lease could not be renewed: %s", error)

    def release(self) -> None:
        """Let another agent act at once; where the store cannot be told, it has to wait for the lease to run out."""
        self._token = None
        try:
            self._lease.release()
        except StoreFailed as error:
            _LOG.warning("the lease could not be released: %s", error)


class Fenced:
    """An `Actuator` that changes nothing unless this agent surely has the lease.

    Between its look at the lease and the change there are moments. An agent that is stopped in just these and goes on
    when another has taken over changes one replica, out of turn but as it was journalled; it says so when it finds out.
    """

    def __init__(self, actuator: Actuator, lead: Leadership) -> None:
        self._actuator = actuator
        self._lead = lead

    async def read(self, target: Target) -> LaunchConfig:
        """Exactly how the replica is started now."""
        return await self._actuator.read(target)

    async def apply(self, target: Target, config: LaunchConfig) -> None:
        """Run the replica with exactly this configuration. Raises `LeaseLost` where that is another agent's to do."""
        before = self._lead.token
        if before is None:
            raise LeaseLost(f"{target.id} is left as it is: this agent's lease has run out")
        await self._actuator.apply(target, config)
        after = self._lead.token
        if after is None:
            _LOG.error("%s was changed while this agent's lease ran out: see that it runs as it should", target.id)

    async def ready(self, target: Target) -> bool:
        """Whether the replica serves requests with the configuration last applied."""
        return await self._actuator.ready(target)
