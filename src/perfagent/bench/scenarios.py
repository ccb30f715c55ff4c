"""Plays, judges and diagnoses scenarios by number, over all cores."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from perfagent.bench.cores import over_cores
from perfagent.bench.look import views_of, write_played
from perfagent.bench.outcome import Outcome, Question, answered
from perfagent.bench.play import play
from perfagent.bench.scenario import Undrawable, draw
from perfagent.bench.truth import accepted

ATTEMPTS = 30
"""Draws after which a scenario is given up: its kind does not exist on its engine."""
FEW = 24
"""Scenarios that are done before other processes are up."""


def diagnose_scenario(seed: int, number: int, *, ablation: bool = False) -> Outcome | None:
    """The first draw that comes out as meant, diagnosed; None where none does."""
    for attempt in range(ATTEMPTS):
        try:
            scenario = draw(seed, number, attempt)
        except Undrawable:
            continue
        played = play(scenario, pages=True)
        accept = accepted(scenario, played)
        if accept is None:
            continue
        question = Question(
            f"{seed}/{number}",
            scenario.kind.value,
            scenario.machine.engine,
            scenario.told,
            scenario.kind.label,
            accept,
            scenario.replicas,
        )
        with TemporaryDirectory() as room:
            return answered(question, views_of(write_played(scenario, played, Path(room))), ablation=ablation)
    return None


def diagnose_scenarios(
    seed: int, numbers: Sequence[int], *, ablation: bool = False, workers: int | None = None
) -> Iterator[Outcome | None]:
    """Each in turn, as they are asked for. The same numbers give the same outcomes on any number of workers."""
    return over_cores(partial(diagnose_scenario, seed, ablation=ablation), numbers, few=FEW, workers=workers)
