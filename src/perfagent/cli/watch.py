"""Looks at servers: at live ones for a while, or at a recording. What commands then diagnose, or predict from."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from perfagent.cli.output import watching
from perfagent.clock import SystemClock
from perfagent.collectors.http import HttpScraper
from perfagent.collectors.recording import read_recording, view
from perfagent.domain.errors import InvalidInput, Unavailable
from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.machine import Machine
from perfagent.domain.service import replica
from perfagent.domain.snapshot import Snapshot, Target
from perfagent.domain.window import Window, lifetime, since_restart

MOST_SCRAPES_APART_S = 5.0
FEWEST_SCRAPES = 6
"""A pattern needs some scrapes: short looks scrape more often than every five seconds."""


@dataclass(frozen=True, slots=True)
class Look:
    """What servers of one engine did, and how each is set."""

    engine: str
    label: str
    views: tuple[tuple[Window, EffectiveConfig], ...]
    launch: LaunchConfig
    machine: Machine
    """As far as a recording says so."""
    notes: tuple[str, ...]
    """What is missing, or went wrong on the way."""


def of_recording(folder: Path, engine: str | None = None, interval_s: float | None = None) -> Look:
    """A recording, over its whole span. Raises `InvalidInput` or `Unavailable` when it cannot be read."""
    recording = read_recording(folder, engine=engine, interval_s=interval_s)
    seen = (view(recording),)
    return Look(recording.engine, folder.name, seen, recording.launch, recording.machine, recording.notes)


def of_servers(urls: list[str], engine: str | None, look_s: float, told: LaunchConfig, release: str | None) -> Look:
    """Live servers, for so long. Raises like a scrape for one that never answered; `InvalidInput` for several
    engines."""
    return asyncio.run(_of_servers(urls, engine, look_s, told, release))


async def _of_servers(
    urls: list[str], engine: str | None, look_s: float, told: LaunchConfig, release: str | None
) -> Look:
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
        views: list[tuple[Window, EffectiveConfig]] = []
        for target in targets:
            snapshots = tuple(seen[target.id])
            window = lifetime(snapshots[0]) if len(snapshots) == 1 else since_restart(Window(snapshots))
            views.append((window, await scraper.read_config(target, snapshots[-1], told, release)))
    names = {window.engine for window, _ in views}
    if len(names) > 1:
        raise InvalidInput(f"these are servers of several engines ({', '.join(sorted(names))}): look at them apart")
    label = targets[0].id if len(targets) == 1 else f"{len(targets)} servers"
    return Look(names.pop(), label, tuple(views), told, Machine(), tuple(dict.fromkeys(notes)))
