"""Reads a recording: a folder with `000.prom`, `001.prom`, … and, if possible, a `meta.json` that says what they are.

A page that is missing or damaged is a missed scrape, told in a note. What would make every figure wrong, times that do
not belong to the pages, is refused. Only what a server's owner would know is read from `meta.json`: engine, version,
flags, environment, hardware, model and times, never what somebody thinks of the run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import cast

from perfagent import engines
from perfagent.collectors.machine import machine
from perfagent.collectors.page import PageReader
from perfagent.domain.errors import BadAnswer, InvalidInput
from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.machine import Machine
from perfagent.domain.snapshot import Snapshot
from perfagent.domain.window import Window, lifetime

MAX_PAGES = 5_000
"""Seven hours at a page every five seconds."""
MAX_BYTES = 8 << 20
"""Of one page, or of `meta.json`."""

_Meta = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Recording:
    """What one replica showed, and how it was started."""

    engine: str
    release: str | None
    """The engine's version, where the recording says so."""
    launch: LaunchConfig
    machine: Machine
    """What it ran on, as far as the recording says so."""
    snapshots: tuple[Snapshot, ...]
    """Strictly rising in time; `at_s` counts from the beginning of the recording, and the target is its name."""
    notes: tuple[str, ...]
    """What is missing or was assumed, for people."""


def read_recording(folder: Path, *, engine: str | None = None, interval_s: float | None = None) -> Recording:
    """The recording in a folder. `engine` overrides what it says; `interval_s` is assumed where it has no times.

    Raises `InvalidInput` where the folder is no recording, its `meta.json` contradicts itself or its pages, or times
    are missing and none are assumed; `BadAnswer` where not a single page can be read.
    """
    pages = sorted(folder.glob("*.prom"), key=_place) if folder.is_dir() else []
    if not pages:
        raise InvalidInput(f"{folder} is no recording: it has no pages 000.prom, 001.prom, …")
    if len(pages) > MAX_PAGES:
        raise InvalidInput(f"{folder} has {len(pages)} pages, more than {MAX_PAGES}")
    meta, notes = _meta(folder)
    times = _times(meta, [page.name for page in pages], interval_s, notes)
    engine = engine or _text(meta, "engine")
    reader = PageReader()
    snapshots: list[Snapshot] = []
    failed: list[str] = []
    for page, at_s in zip(pages, times, strict=True):
        try:
            snapshot = reader.read(_bytes(page), engine, target=folder.name, at_s=at_s)
        except BadAnswer as error:
            failed.append(f"{page.name} is left out: {error}")
            continue
        engine = snapshot.engine
        snapshots.append(snapshot)
    if engine is None or not snapshots:
        raise BadAnswer(f"no page in {folder} can be read; {failed[0]}")
    launch = LaunchConfig(_flags(meta), _env(meta))
    of = machine(meta.get("hardware"), meta.get("model"))
    return Recording(engine, _text(meta, "version"), launch, of, tuple(snapshots), (*notes, *failed))


def view(recording: Recording) -> tuple[Window, EffectiveConfig]:
    """What a diagnosis looks at: the recording's whole span, and the settings as far as they are known."""
    snapshots = recording.snapshots
    window = lifetime(snapshots[0]) if len(snapshots) == 1 else Window(snapshots)
    config = engines.effective(recording.engine, recording.launch, snapshots[-1].info, {}, recording.release)
    return window, config


def _meta(folder: Path) -> tuple[_Meta, list[str]]:
    path = folder / "meta.json"
    if not path.exists():
        return {}, ["there is no meta.json: version, flags and environment are unknown"]
    try:
        meta = json.loads(_bytes(path))
    except (ValueError, RecursionError, BadAnswer) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    if not isinstance(meta, dict):
        raise InvalidInput(f"{path} is not a JSON object")
    return meta, []


def _times(meta: _Meta, pages: Sequence[str], interval_s: float | None, notes: list[str]) -> list[float]:
    """Seconds from the beginning for each page."""
    stated = meta.get("scrape_times")
    if stated is None:
        if interval_s is None:
            raise InvalidInput("the recording does not say when its pages were taken: give the interval between them")
        notes.append(f"no scrape_times: the pages are taken to be {interval_s:g} s apart")
        return [i * interval_s for i in _turns(pages)]
    times = _numbers(stated, "scrape_times")
    if not all(isfinite(time) for time in times) or any(a >= b for a, b in pairwise(times)):
        raise InvalidInput("meta.json: scrape_times must rise from one page to the next")
    if len(times) == len(pages):
        return times
    turns = _turns_of_scrapes(meta, pages, len(times))
    if turns is None and len(times) == _turns(pages)[-1] + 1:
        turns = _turns(pages)
    if turns is None:
        raise InvalidInput(
            f"meta.json has {len(times)} scrape_times for {len(pages)} pages, and nothing tells which are missing"
        )
    notes.append(f"{len(times) - len(pages)} of {len(times)} scrapes have no page")
    return [times[turn] for turn in turns]


def _place(page: Path) -> tuple[int, str]:
    """By number where the name is one, so that `10.prom` comes after `9.prom`."""
    return (int(page.stem) if page.stem.isdecimal() else -1, page.name)


def _turns(pages: Sequence[str]) -> list[int]:
    """The number in each page's name; simply counted where the names are something else."""
    stems = [name.removesuffix(".prom") for name in pages]
    numbers = [int(stem) for stem in stems if stem.isdecimal()]
    rising = len(numbers) == len(pages) and all(a < b for a, b in pairwise(numbers))
    return numbers if rising else list(range(len(pages)))


def _turns_of_scrapes(meta: _Meta, pages: Sequence[str], count: int) -> list[int] | None:
    """Which of `count` scrapes made each page, by the log of `scrapes`: those that failed have no `file` there."""
    scrapes = meta.get("scrapes")
    if not isinstance(scrapes, list) or len(scrapes) != count:
        return None
    turns = {str(scrape.get("file")): turn for turn, scrape in enumerate(scrapes) if isinstance(scrape, dict)}
    found = [turns[page] for page in pages if page in turns]
    return found if len(found) == len(pages) and all(a < b for a, b in pairwise(found)) else None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadAnswer(f"it cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise BadAnswer(f"it has more than {MAX_BYTES} bytes")
    return content


def _text(meta: _Meta, field: str) -> str | None:
    value = meta.get(field)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"meta.json: {field} must be a text")
    return value


def _flags(meta: _Meta) -> tuple[str, ...]:
    flags = meta.get("flags") or []
    if not isinstance(flags, list) or not all(isinstance(flag, str) for flag in flags):
        raise InvalidInput("meta.json: flags must be a list of texts, as on the command line")
    return tuple(flags)


def _env(meta: _Meta) -> tuple[tuple[str, str], ...]:
    env = meta.get("env") or {}
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise InvalidInput("meta.json: env must map names to texts")
    return tuple(env.items())


def _numbers(value: object, field: str) -> list[float]:
    try:
        if isinstance(value, list) and all(isinstance(one, (int, float)) for one in value):
            return [float(one) for one in cast("list[float]", value)]
    except OverflowError:
        pass
    raise InvalidInput(f"meta.json: {field} must be a list of numbers")
