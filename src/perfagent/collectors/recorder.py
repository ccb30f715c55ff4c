"""Makes a recording of a server: its pages as it served them, and a `meta.json` that `read_recording` understands.

`meta.json` is written anew after every scrape, so a recording that was cut short is a shorter recording.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from perfagent.collectors.http import HttpScraper
from perfagent.collectors.recording import MAX_PAGES
from perfagent.domain.errors import InvalidInput, Unavailable
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.machine import Machine
from perfagent.domain.snapshot import Target
from perfagent.ports import Clock


@dataclass(slots=True)
class Recorder:
    """Records one server into an empty folder."""

    scraper: HttpScraper
    clock: Clock
    folder: Path
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    """The flags and environment it was started with, as far as somebody told us."""
    release: str | None = None
    """Its release, where the server does not tell."""
    _machine: Machine = field(default_factory=Machine, init=False)
    """What it runs on and serves, as far as it tells that."""

    async def record(
        self,
        target: Target,
        *,
        engine: str | None = None,
        for_s: float = 60.0,
        every_s: float = 5.0,
        seen: Callable[[float], None] = lambda _seconds: None,
    ) -> int:
        """Scrape every `every_s` seconds for `for_s`; how many pages there are. `seen` is told the seconds passed.

        A scrape that fails later on is a gap. Raises `InvalidInput` for a folder that has something in it or cannot be
        written, or a recording of too many pages, and what a scrape raises when the first one fails.
        """
        if not every_s > 0 or for_s / every_s >= MAX_PAGES:
            raise InvalidInput(f"a recording has at most {MAX_PAGES} pages, one every {every_s:g} s for {for_s:g} s")
        self._make_folder()
        began_s, scrapes = self.clock.monotonic(), list[dict[str, object]]()
        while True:
            at_s = self.clock.monotonic() - began_s
            try:
                snapshot, page = await self.scraper.scrape_page(target, engine)
            except Unavailable as missed:
                if not scrapes:
                    raise
                scrapes.append({"at_s": at_s, "error": str(missed)})
            else:
                if not scrapes:
                    engine = snapshot.engine
                    config = await self.scraper.read_config(target, snapshot, self.launch, self.release)
                    self.release = config.release
                    self._machine = config.machine
                name = f"{len(scrapes):03d}.prom"
                self._write(name, page)
                scrapes.append({"at_s": at_s, "file": name})
            self._write_meta(engine, every_s, scrapes)
            left_s = began_s + for_s - self.clock.monotonic()
            seen(for_s - max(left_s, 0.0))
            if left_s <= 0:
                return sum("file" in scrape for scrape in scrapes)
            await self.clock.sleep(min(every_s, left_s))

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if any(self.folder.iterdir()):
                raise InvalidInput(f"{self.folder} has something in it: a recording goes into a folder of its own")
        except OSError as error:
            raise self._unwritable(error) from error

    def _write_meta(self, engine: str | None, every_s: float, scrapes: list[dict[str, object]]) -> None:
        meta = {
            "engine": engine,
            "version": self.release,
            "flags": list(self.launch.flags),
            "env": dict(self.launch.env),
            **_told(self._machine),
            "interval_s": every_s,
            "scrape_times": [scrape["at_s"] for scrape in scrapes],
            "scrapes": scrapes,
        }
        self._write("meta.json", (json.dumps(meta, indent=1) + "\n").encode())

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all, whenever the process ends."""
        new = self.folder / f"{name}.new"
        try:
            new.write_bytes(content)
            new.replace(self.folder / name)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> InvalidInput:
        return InvalidInput(f"{self.folder} cannot be written: {error.strerror}")


def _told(machine: Machine) -> dict[str, object]:
    """What `collectors.machine` reads back; what is not known is not written."""
    told: dict[str, object] = {}
    if machine.gpu is not None:
        told["hardware"] = f"{machine.gpus} x {machine.gpu}"
    if machine.shape is not None:
        told["model"] = asdict(machine.shape)
    return told
