"""Scrapes whole fleets on a schedule: `schedule.py` says when, a `Scraper` how, and what fails is remembered."""

import asyncio
from collections.abc import Sequence

from perfagent.collectors.schedule import Cadence, Tries, due_s, stale
from perfagent.domain.errors import Unavailable
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.ports import Clock, Scraper


class FleetCollector:
    """`ports.Collector` over any `Scraper`."""

    def __init__(self, scraper: Scraper, clock: Clock, cadence: Cadence | None = None) -> None:
        self._scraper = scraper
        self._clock = clock
        self._cadence = cadence or Cadence()
        self._tries: dict[str, Tries] = {}
        self._due: dict[str, float] = {}
        self._trouble: dict[str, str] = {}

    async def collect(self, targets: Sequence[tuple[Target, str]]) -> Sequence[Snapshot]:
        """Scrape those that are due, at the same time. Replicas that are no longer asked for are forgotten."""
        now_s = self._clock.now()
        self._keep_only({target.id for target, _ in targets})
        for target, _ in targets:
            self._due.setdefault(target.id, due_s(self._cadence, target.id, Tries(), now_s))
        due = [(target, engine) for target, engine in targets if self._due[target.id] <= now_s]
        answers = await asyncio.gather(*(self._scrape(target, engine) for target, engine in due))
        return [snapshot for snapshot in answers if snapshot is not None]

    def next_due_s(self) -> float:
        """When the next replica is due; without any, one interval from now."""
        return min(self._due.values(), default=self._clock.now() + self._cadence.interval_s)

    def trouble(self, target: str) -> str | None:
        """Why the last scrape failed, or that the figures are out of date; None when all is well."""
        if target in self._trouble:
            return self._trouble[target]
        tries = self._tries.get(target)
        if tries is not None and stale(self._cadence, tries, self._clock.now()):
            return "its figures are out of date"
        return None

    async def _scrape(self, target: Target, engine: str) -> Snapshot | None:
        tries = self._tries.get(target.id, Tries())
        try:
            snapshot = await self._scraper.scrape(target, engine)
        except Unavailable as error:
            self._trouble[target.id] = str(error)
            self._note(target.id, tries.failed(self._clock.now()))
            return None
        self._trouble.pop(target.id, None)
        self._note(target.id, tries.succeeded(self._clock.now()))
        return snapshot

    def _note(self, target: str, tries: Tries) -> None:
        self._tries[target] = tries
        self._due[target] = due_s(self._cadence, target, tries, self._clock.now())

    def _keep_only(self, targets: set[str]) -> None:
        for known in (self._tries, self._due, self._trouble):
            for gone in known.keys() - targets:
                known.pop(gone, None)
