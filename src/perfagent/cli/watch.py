"""Looks at live servers for a while: what a command then diagnoses, or predicts from."""

from collections.abc import Mapping
from dataclasses import dataclass

from perfagent.cli.output import watching
from perfagent.clock import SystemClock
from perfagent.collectors.http import HttpScraper
from perfagent.domain.errors import InvalidInput, Unavailable
from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.service import replica
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.domain.window import Window, lifetime, since_restart

MOST_SCRAPES_APART_S = 5.0
FEWEST_SCRAPES = 6
"""A pattern needs some scrapes: short looks scrape more often than every five seconds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What servers of one engine did, and how each is set, by address."""

    engine: str
    views: Mapping[str, tuple[Window, EffectiveConfig]]
    notes: tuple[str, ...]
    """What went wrong on the way."""


async def watch(urls: list[str], engine: str | None, look_s: float, told: LaunchConfig, release: str | None) -> Seen:
    """Scrape the servers for so long. Raises like a scrape for one that never answered; `InvalidInput` for a mixture
    of engines."""
    clock = SystemClock()
    targets = [Target(address, address) for address in dict.fromkeys(replica("", url).url for url in urls)]
    every_s = min(MOST_SCRAPES_APART_S, look_s / FEWEST_SCRAPES)
    seen: dict[str, list[Snapshot]] = {target.id: [] for target in targets}
    notes: list[str] = []
    async with HttpScraper(clock) as scraper:
        end = clock.monotonic() + look_s
        with watching(look_s, "watching") as watched:
            while True:
                for target in targets:
                    try:
                        seen[target.id].append(await scraper.scrape(target, engine))
                    except Unavailable as missed:
                        if not seen[target.id]:
                            raise
                        notes.append(str(missed))
                left = end - clock.monotonic()
                watched(look_s - max(left, 0.0))
                if left <= 0:
                    break
                await clock.sleep(min(every_s, left))
        views: dict[str, tuple[Window, EffectiveConfig]] = {}
        for target in targets:
            snapshots = tuple(seen[target.id])
            window = lifetime(snapshots[0]) if len(snapshots) == 1 else since_restart(Window(snapshots))
            views[target.id] = window, await scraper.read_config(target, snapshots[-1], told, release)
    names = {window.engine for window, _ in views.values()}
    if len(names) > 1:
        raise InvalidInput(f"these are servers of several engines ({', '.join(sorted(names))}): look at them apart")
    return Seen(names.pop(), views, tuple(dict.fromkeys(notes)))
