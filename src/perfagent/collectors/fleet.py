"""Scrapes whole fleets: each replica in its own place of the interval, a bounded number at a time.

A replica that cannot be read, for whatever reason, is not an error of the fleet: its reason is kept, and it is tried
again less often.
"""

import asyncio
import logging
from collections.abc import Sequence
from math import inf

from perfagent.collectors.schedule import Cadence, Tries, due_s, stale
from perfagent.domain.errors import AgentError
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.ports import Clock, Scraper

_LOG = logging.getLogger(__name__)


class Fleet:
    """`ports.Collector` over a scraper. It remembers the replicas that it was last asked for, and no others."""

    def __init__(self, scraper: Scraper, clock: Clock, cadence: Cadence | None = None, *, at_once: int = 50) -> None:
        self._scraper = scraper
        self._clock = clock
        self._cadence = cadence or Cadence()
        self._at_once = asyncio.Semaphore(at_once)
        self._tries: dict[str, Tries] = {}
        self._due_s: dict[str, float] = {}
        self._trouble: dict[str, str] = {}

    async def collect(self, targets: Sequence[tuple[Target, str]]) -> Sequence[Snapshot]:
        """Scrape those of the (replica, engine) pairs that are due now."""
        now_s = self._clock.now()
        self._only({target.id for target, _ in targets}, now_s)
        due = [(target, engine) for target, engine in targets if self._due_s[target.id] <= now_s]
        seen = await asyncio.gather(*(self._one(target, engine) for target, engine in due))
        return [snapshot for snapshot in seen if snapshot is not None]

    def next_due_s(self) -> float:
        """Unix seconds at which the next replica is due; infinite without replicas."""
        return min(self._due_s.values(), default=inf)

    def trouble(self, target: str) -> str | None:
        """Why the replica's last scrape failed, or None when it did not."""
        return self._trouble.get(target)

    def stale(self, target: str) -> bool:
        """Whether the replica's figures are out of date, or there are none."""
        return stale(self._cadence, self._tries.get(target, Tries()), self._clock.now())

    async def _one(self, target: Target, engine: str) -> Snapshot | None:
        async with self._at_once:
            began_s = self._clock.now()
            snapshot = None
            try:
                snapshot = await self._scraper.scrape(target, engine)
            except AgentError as error:
                self._trouble[target.id] = str(error)
            except Exception as error:
                _LOG.exception("scraping %s failed", target.id)
                self._trouble[target.id] = f"unexpected {type(error).__name__}: {error}"
            else:
                self._trouble.pop(target.id, None)
        before = self._tries.get(target.id, Tries())
        tries = before.failed(began_s) if snapshot is None else before.succeeded(began_s)
        self._tries[target.id] = tries
        self._due_s[target.id] = due_s(self._cadence, target.id, tries, began_s)
        return snapshot

    def _only(self, wanted: set[str], now_s: float) -> None:
        for memory in (self._tries, self._due_s, self._trouble):
            for gone in memory.keys() - wanted:
                del memory[gone]
        # further off than any pause: it was told before the clock was set back
        farthest_s = now_s + max(self._cadence.longest_s, self._cadence.interval_s) + self._cadence.interval_s
        for replica in wanted:
            if self._due_s.get(replica, inf) > farthest_s:
                self._due_s[replica] = due_s(self._cadence, replica, Tries(), now_s)
