"""Hours in which nothing is wrong, watched as a live agent watches them: what it says there are false alarms.

Servers are drawn as the scenarios are, under numbers that no scenario has, and watched for an hour each. The truth is
the whole hour's: a burst that drains is nothing to be told of, even where a window holds little else. Two things are
counted: what single windows say, one after another, which is what somebody sees who asks once; and the incidents that
fire, which is what somebody is called for.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from perfagent.analysis import diagnose
from perfagent.bench.cores import over_cores
from perfagent.bench.interval import Measured, rate
from perfagent.bench.outcome import Question
from perfagent.bench.play import Played, play
from perfagent.bench.scenario import NONE, Kind, Scenario, Undrawable, draw
from perfagent.bench.scenarios import ATTEMPTS
from perfagent.bench.truth import excused, nothing_wrong
from perfagent.collectors.page import PageReader
from perfagent.collectors.recording import Recording, view
from perfagent.domain.errors import BadAnswer
from perfagent.domain.finding import Cause, Diagnosis
from perfagent.domain.incident import Incident, Stage
from perfagent.domain.knob import LaunchConfig
from perfagent.domain.machine import Machine
from perfagent.domain.snapshot import Snapshot
from perfagent.loop import WINDOW_S
from perfagent.watch import Watch

STRETCH_S = 3600.0
SCRAPE_S = 15.0
"""How often a live agent scrapes, unless it is told otherwise."""
KINDS = tuple(kind for kind in Kind if kind.label == NONE and kind is not Kind.FLEET)
"""Nothing is wrong; a fleet's alarms would be its service's, not an instance's."""
FIRST_ROW = 1_000_000
"""In which every kind has one number; all numbers of scenarios are far below."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One server on which nothing was wrong for an hour, and what was said of it, window by window."""

    question: Question
    release: str
    diagnoses: tuple[Diagnosis, ...]
    fired: tuple[Incident, ...]
    """Incidents as they were when they fired."""

    @property
    def false_fired(self) -> tuple[Incident, ...]:
        """The incidents whose cause is not there."""
        return tuple(each for each in self.fired if each.cause.value not in self.question.accept)

    @property
    def false(self) -> tuple[frozenset[str], ...]:
        """The causes that each window names and that are not there."""
        return tuple(
            frozenset(finding.cause.value for finding in each.findings) - self.question.accept
            for each in self.diagnoses
        )

    @property
    def hours(self) -> float:
        """Instance-hours that were looked at."""
        return sum(each.end_s - each.start_s for each in self.diagnoses) / 3600


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring windows that name the same cause: whoever is told hears of it once."""

    cause: str
    first: int
    windows: int


@dataclass(frozen=True, slots=True)
class OfCause:
    """How often one cause was named where it was not there."""

    windows: int
    distinct: int
    """Neighbouring windows together count as one."""
    fired: int


@dataclass(frozen=True, slots=True)
class Quiet:
    """False alarms per time."""

    stretches: int
    fault_free_hours: float
    false_alarms: int
    """Windows that name any cause that is not there."""
    distinct_alarms: int
    """Neighbouring windows that name the same one together count as one."""
    fired: int
    """Incidents that fired for a cause that is not there."""
    false_alarms_per_1000_h: Measured
    distinct_alarms_per_1000_h: Measured
    fired_per_1000_h: Measured
    causes: dict[str, OfCause]


def watch_stretches(seed: int, hours: int, *, workers: int | None = None) -> Iterator[Stretch | None]:
    """So many servers, each for an hour, in turn, as they are asked for; the same on any number of workers."""
    return over_cores(partial(watch_stretch, seed), range(hours), few=1, workers=workers)


def watch_stretch(seed: int, turn: int) -> Stretch | None:
    """The first draw on which nothing is wrong for an hour; None where there is none."""
    row, place = divmod(turn, len(KINDS))
    number = (FIRST_ROW + row) * len(Kind) + tuple(Kind).index(KINDS[place])
    for attempt in range(ATTEMPTS):
        try:
            scenario = replace(draw(seed, number, attempt), span_s=STRETCH_S, every_s=SCRAPE_S)
        except Undrawable:
            continue
        played = play(scenario, pages=True)
        if not nothing_wrong(scenario, played):
            continue
        live = watch(scenario, played)
        machine = scenario.machine
        kind, told = scenario.kind, scenario.told
        accept = frozenset({NONE, *excused(scenario, played, live.named)})
        question = Question(f"{seed}/{number}", kind.value, machine.engine, told, kind.label, accept)
        return Stretch(question, machine.release, tuple(live.diagnoses), tuple(live.fired.values()))
    return None


def count(stretches: Sequence[Stretch]) -> Quiet:
    """What was falsely said on all of them."""
    said = [each.false for each in stretches]
    windows = [causes for each in said for causes in each]
    alarms = [run for each in said for run in runs(each)]
    fired = [incident.cause.value for each in stretches for incident in each.false_fired]
    hours, loud = sum(each.hours for each in stretches), sum(map(bool, windows))
    return Quiet(
        len(stretches),
        hours,
        loud,
        len(alarms),
        len(fired),
        rate(loud, hours / 1000),
        rate(len(alarms), hours / 1000),
        rate(len(fired), hours / 1000),
        {
            cause: OfCause(
                sum(cause in causes for causes in windows),
                sum(run.cause == cause for run in alarms),
                fired.count(cause),
            )
            for cause in sorted({run.cause for run in alarms} | set(fired))
        },
    )


def runs(said: Sequence[Collection[str]]) -> list[Run]:
    """Alarms from the causes that each window names, by when they began."""
    found: list[Run] = []
    going: dict[str, int] = {}
    for turn, causes in enumerate((*said, ())):
        for cause in sorted(going.keys() - set(causes)):
            first = going.pop(cause)
            found.append(Run(cause, first, turn - first))
        for cause in causes:
            going.setdefault(cause, turn)
    return sorted(found, key=lambda run: (run.first, run.cause))


def watch(scenario: Scenario, played: Played) -> "Live":
    """What a live agent saw of one replica."""
    live = Live(scenario)
    for at_s, page in zip(played.times, played.pages[0], strict=True):
        live.scraped(at_s, page)
    return live


class Live:
    """A live agent's eyes: it looks at the last window now and then, and at windows that follow one another."""

    def __init__(self, scenario: Scenario) -> None:
        machine, told = scenario.machine, scenario.told
        release, launch = (machine.release, scenario.launch) if told else (None, LaunchConfig())
        self._known = Recording(machine.engine, release, launch, Machine(), (), ())
        self._reader = PageReader()
        self._snapshots: list[Snapshot] = []
        self._watch = Watch()
        self._full_s = WINDOW_S
        self.diagnoses: list[Diagnosis] = []
        """Of the windows that follow one another: the last page of one is the first one of the next."""
        self.fired: dict[tuple[Cause, float], Incident] = {}

    @property
    def named(self) -> frozenset[Cause]:
        """The causes that any of these windows names, or of which an incident fired."""
        said = {finding.cause for each in self.diagnoses for finding in each.findings}
        return frozenset(said | {cause for cause, _ in self.fired})

    def scraped(self, at_s: float, page: str) -> None:
        """The next page; what cannot be read is missed."""
        with suppress(BadAnswer):
            self._snapshots.append(self._reader.read(page.encode(), self._known.engine, target="instance", at_s=at_s))
        self._snapshots = [each for each in self._snapshots if each.at_s >= at_s - WINDOW_S]
        if not self._snapshots or self._watch.due(["instance"], at_s) is None:
            return
        diagnosis = diagnose(*view(replace(self._known, snapshots=tuple(self._snapshots))))
        self._watch.looked("instance", diagnosis, at_s)
        for incident in self._watch.incidents("instance"):
            if incident.stage is Stage.FIRING:
                self.fired.setdefault((incident.cause, incident.since_s), incident)
        if at_s >= self._full_s:
            self._full_s += WINDOW_S
            self.diagnoses.append(diagnosis)
