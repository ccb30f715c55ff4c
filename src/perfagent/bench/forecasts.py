"""How well is a change foretold? Every recording of a server foretells its siblings, whose load is taken as known.

Siblings are recordings of the same engine, release, hardware and model. What differs between two of them is the change;
what comes out is held against the second one's own metrics.
"""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import permutations
from pathlib import Path

from perfagent.bench.accuracy import Compared, Pair, foretold
from perfagent.bench.cores import over_cores
from perfagent.bench.recorded import meta_of
from perfagent.collectors.recording import Recording, read_recording, view
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.domain.knob import Change, Knob, change_of
from perfagent.domain.metric import Metric
from perfagent.domain.window import increase, resets
from perfagent.forecast import Case, case
from perfagent.forecast.measured import measured
from perfagent.forecast.server import PLAYED

FEWEST_ANSWERS = 20
"""A recording with fewer tells too little to be held against."""


def siblings(root: Path) -> list[tuple[Path, Path]]:
    """Ordered pairs of recordings that can be held against one another."""
    folders = sorted({meta.parent for meta in root.rglob("meta.json") if any(meta.parent.glob("*.prom"))})
    usable = [folder for folder in folders if _usable(folder)]
    return [(a, b) for a, b in permutations(usable, 2) if _kin(a) == _kin(b)]


def compare_all(pairs: Sequence[tuple[Path, Path]]) -> Iterator[list[Compared]]:
    """Each pair in turn, as they are asked for."""
    return over_cores(partial(_nth, pairs), range(len(pairs)), few=1)


def _nth(pairs: Sequence[tuple[Path, Path]], turn: int) -> list[Compared]:
    return compare(*pairs[turn])


def compare(before: Path, after: Path) -> list[Compared]:
    """What the first foretells of the second; nothing where it tells too little, or the change cannot be played."""
    try:
        known, other = _case(before), _case(after)
        pair = Pair(
            f"{before.parent.name}/{before.name}",
            after.name,
            _load(before) == _load(after),
            known.server.types == other.server.types,
        )
        real = measured(other.window, other.demand.span)
        return foretold(pair, known, _difference(known, other), other.demand, real)
    except AgentError:
        return []


def groups(compared: Sequence[Compared]) -> dict[str, list[Compared]]:
    """By what differs between the two recordings."""
    return {
        "kernels unchanged": [one for one in compared if one.same_types],
        "data type changed": [one for one in compared if not one.same_types],
        "same load, kernels unchanged": [one for one in compared if one.same_types and one.same_load],
        "same load, data type changed": [one for one in compared if not one.same_types and one.same_load],
    }


def _difference(known: Case, other: Case) -> Change:
    """What the second server is set to otherwise, of what the twin plays.

    Raises `InvalidInput` where a setting would have to be taken away.
    """
    now, then = known.server.values, other.server.values
    unset = sorted(knob for knob in PLAYED if knob in now and knob not in then)
    if unset:
        raise InvalidInput(f"{unset[0]} is set on the first and not on the second: no value says that")
    differing = {knob: then[knob] for knob in Knob if knob in PLAYED and knob in then and now.get(knob) != then[knob]}
    return change_of(differing) if differing else ()


@cache
def _read(folder: Path) -> Recording:
    return read_recording(folder)


@cache
def _case(folder: Path) -> Case:
    recording = _read(folder)
    window, config = view(recording)
    return case(window, config, recording.launch, recording.machine)


def _usable(folder: Path) -> bool:
    """One process, with answers whose lengths are told."""
    try:
        recording = _read(folder)
    except AgentError:
        return False
    window, _ = view(recording)
    finished = increase(window, Metric.FINISHED)
    return not resets(window) and finished is not None and finished >= FEWEST_ANSWERS


def _kin(folder: Path) -> tuple[object, ...]:
    recording = _read(folder)
    return recording.engine, recording.release, recording.machine


def _load(folder: Path) -> object:
    """What its clients were told to send; nothing is like nothing else where that is not said."""
    return meta_of(folder).get("load") or object()
