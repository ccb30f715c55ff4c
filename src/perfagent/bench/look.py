"""Diagnoses folders of pages by the path that `perfagent diagnose --replay` takes.

Nothing that knows the answer is in reach: a folder has a neutral name, and a `meta.json` with what a server's owner
knows and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from perfagent.analysis import diagnose, of_service
from perfagent.bench.play import Played
from perfagent.bench.scenario import Scenario
from perfagent.collectors.recording import read_recording, view
from perfagent.domain.finding import Diagnosis
from perfagent.domain.knob import EffectiveConfig
from perfagent.domain.window import Window

Views = Sequence[tuple[Window, EffectiveConfig]]
"""What a diagnosis of a service looks at, for each of its replicas."""
OWNERS = ("engine", "version", "flags", "env", "scrape_times")
"""What is left of a recording's `meta.json`, beside which scrape made which page."""


def look(folders: Sequence[Path]) -> Diagnosis:
    """One diagnosis of a service whose replicas were recorded; raises what reading a recording raises."""
    return diagnosed(views_of(folders))


def views_of(folders: Sequence[Path]) -> Views:
    """What was recorded of each replica of a service; raises what reading a recording raises."""
    return [view(read_recording(folder)) for folder in folders]


def diagnosed(views: Views) -> Diagnosis:
    """One diagnosis of a service."""
    return of_service("service", [diagnose(*one) for one in views])


def write_played(scenario: Scenario, played: Played, room: Path) -> list[Path]:
    """A recording of each replica."""
    meta: dict[str, object] = {"engine": scenario.machine.engine, "scrape_times": list(played.times)}
    if scenario.told:
        meta |= {
            "version": scenario.machine.release,
            "flags": list(scenario.launch.flags),
            "env": dict(scenario.launch.env),
        }
    folders = []
    for number, pages in enumerate(played.pages):
        folder = room / f"replica-{number}"
        folder.mkdir()
        for turn, page in enumerate(pages):
            (folder / f"{turn:03}.prom").write_text(page)
        (folder / "meta.json").write_text(json.dumps(meta))
        folders.append(folder)
    return folders


def write_stripped(recorded: Path, meta: Mapping[str, object], room: Path) -> Path:
    """A copy of a recording without its name and its label; pages are linked to."""
    folder = room / "replica-0"
    folder.mkdir()
    for page in recorded.glob("*.prom"):
        (folder / page.name).symlink_to(page.resolve())
    kept = {name: meta[name] for name in OWNERS if name in meta}
    scrapes = meta.get("scrapes")
    if isinstance(scrapes, list):
        kept["scrapes"] = [{"file": one["file"]} if "file" in one else {} for one in scrapes if isinstance(one, dict)]
    (folder / "meta.json").write_text(json.dumps(kept))
    return folder
