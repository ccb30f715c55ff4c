"""`perfagent bench`: how good are we? Anybody can run it; nothing but the seed decides what comes out."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from perfagent.bench import emulated, forecasts
from perfagent.bench.accuracy import Compared, accuracy
from perfagent.bench.evidence import needed
from perfagent.bench.fleets import NOISES
from perfagent.bench.judging import CELLS
from perfagent.bench.judging import play_all as judge_all
from perfagent.bench.outcome import Outcome
from perfagent.bench.quiet import Run, Stretch, count, runs, watch_stretches
from perfagent.bench.rates import rates
from perfagent.bench.recorded import diagnose_recorded, labelled
from perfagent.bench.rollouts import play_all as roll_all_out
from perfagent.bench.scenario import Split
from perfagent.bench.scenarios import diagnose_scenarios
from perfagent.bench.score import by_agent, by_rules, score
from perfagent.bench.stops import stops
from perfagent.bench.tuners import methods as ways
from perfagent.bench.tuning import better, solve_all
from perfagent.cli.bench_table import forecasts_table, judge_table, rollout_table, table, tuning_table
from perfagent.cli.output import Exit, Format, emit, err, fail
from perfagent.domain.errors import InvalidInput
from perfagent.domain.incident import Incident

T = TypeVar("T")

bench = typer.Typer(help="How often the agent is right, measured.", no_args_is_help=True)


@bench.callback()
def root() -> None:
    """Benchmarks that need no GPU."""


@bench.command()
def diagnosis(
    scenarios: Annotated[
        int, typer.Option(min=0, max=100_000, help="How many are numbered; a split has about half.")
    ] = 600,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same scenarios.")] = 0,
    split: Annotated[Split, typer.Option(help="Which half of the scenarios to play.")] = Split.TEST,
    recordings: Annotated[
        Path | None, typer.Option(help="Also every recording below this folder whose meta.json says `accept`.")
    ] = None,
    ablation: Annotated[  # noqa: FBT002
        bool, typer.Option("--ablation", help="Also diagnose again without each metric what was named right; slow.")
    ] = False,
    quiet_hours: Annotated[
        int, typer.Option(min=0, max=100_000, help="Also watch so many servers on which nothing is wrong for an hour.")
    ] = 0,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TABLE,
) -> None:
    """Play labelled situations, diagnose them as recordings are, and score the answers beside simple rules'."""
    diagnosed = partial(diagnose_recorded, ablation=ablation)
    numbers = [number for number in range(scenarios) if split.has(number)]
    try:
        folders = [] if recordings is None else labelled(recordings)
        recorded = list(_watched(map(diagnosed, folders), len(folders), "recordings"))
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    played = list(_watched(diagnose_scenarios(seed, numbers, ablation=ablation), len(numbers), "scenarios"))
    kept = [one for one in played if one is not None]
    data: dict[str, Any] = {
        "seed": seed,
        "split": split.value,
        "scenarios": scored(kept, ablation=ablation)
        | {"dropped": len(played) - len(kept), "wrong": [_told(one) for one in kept if not one.right]},
    }
    if recordings is not None:
        data["recordings"] = scored(recorded, ablation=ablation) | {"each": [_told(one) for one in recorded]}
    if quiet_hours:
        data["quiet_hours"] = _quiet(_watched(watch_stretches(seed, quiet_hours), quiet_hours, "quiet hours"))
    emit(data, output, table)


@bench.command()
def twin(
    recordings: Annotated[
        Path | None, typer.Option(help="Instead: every two recordings below it of one server foretell each other.")
    ] = None,
    scenarios: Annotated[int, typer.Option(min=1, max=100_000, help="How many emulated servers.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same servers.")] = 0,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TABLE,
) -> None:
    """Foretell changes of emulated servers, or recordings from one another, and compare with what came."""
    emit(_emulated(scenarios, seed) if recordings is None else _recorded(recordings), output, forecasts_table)


@bench.command()
def tuning(
    problems: Annotated[int, typer.Option(min=1, max=1000, help="How many servers with a load.")] = 20,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="How often each is tried, with other luck.")] = 30,
    first: Annotated[int, typer.Option(min=0, help="Number of the first problem: others are others.")] = 0,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TABLE,
) -> None:
    """Find the best setting of emulated servers in a few live trials, and hold that against other ways to search.

    Optuna is among them where it is installed (`pip install 'performance-agent[bench]'`).
    """
    known = ways()
    solved = solve_all(range(first, first + problems), seeds, known)
    found = [one for each in _watched(solved, problems, "problems") for one in each]
    if not found:
        raise fail("no setting of these servers serves their load in time: ask for more problems", Exit.WRONG_USE)
    methods = {name: [one for one in found if one.method == name] for name in known}
    data = {
        "problems": problems,
        "first": first,
        "left_out": problems - len({one.problem for one in found}),
        "seeds": seeds,
        "methods": {
            name: {
                "reached_median": median(one.reached for one in of),
                "reached_tenth": sorted(one.reached for one in of)[len(of) // 10],
                "trials_median": median(one.trials for one in of),
                "p_twin_is_better": None if name == "twin" else better(found, "twin", name),
            }
            for name, of in methods.items()
        },
        "each": [asdict(one) for one in found],
    }
    emit(data, output, tuning_table)


@bench.command()
def judge(
    fleets: Annotated[int, typer.Option(min=1, max=100_000, help="How many are drawn of each kind.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same fleets.")] = 0,
    noise: Annotated[
        list[str] | None, typer.Option(help=f"Only fleets of this kind; may be repeated. {', '.join(NOISES)}.")
    ] = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TABLE,
) -> None:
    """Roll changes out on drawn fleets, whole rollouts, and count wrong endings beside those of incumbents' rules."""
    unknown = sorted(set(noise or ()) - set(NOISES))
    if unknown:
        raise fail(f"no fleets are called {', '.join(unknown)}", Exit.WRONG_USE)
    cells = [cell for cell in CELLS if not noise or cell.noise in noise]
    found = [one for each in _watched(judge_all(seed, fleets, cells), fleets, "fleets") for one in each]
    emit({"seed": seed, "fleets": fleets} | rates(found), output, judge_table)


@bench.command()
def rollout(
    rollouts: Annotated[int, typer.Option(min=1, max=100_000, help="How many are played.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same rollouts.")] = 0,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TABLE,
) -> None:
    """Roll good and harmful changes out on emulated fleets, with lost scrapes, restarts and agents that die."""
    played = roll_all_out(seed, range(rollouts))
    found = list(_watched(played, rollouts, "rollouts"))
    emit(
        {"seed": seed, "rollouts": rollouts} | stops(found) | {"each": list(map(asdict, found))}, output, rollout_table
    )


def scored(outcomes: list[Outcome], *, ablation: bool = False) -> dict[str, Any]:
    """Both scores, as data; with `ablation` which evidence the agent's needed."""
    both = {"agent": asdict(score(outcomes, by_agent)), "rules": asdict(score(outcomes, by_rules))}
    return both | ({"ablation": asdict(needed(outcomes))} if ablation else {})


def _emulated(scenarios: int, seed: int) -> dict[str, Any]:
    drawn = list(_watched(emulated.foretell_all(seed, scenarios), scenarios, "servers"))
    answers = [one for one in drawn if one is not None]
    compared = [one for answer in answers for one in answer.compared]
    return {
        "seed": seed,
        "servers": scenarios,
        "dropped": len(drawn) - len(answers),
        "foretold": len({one.before for one in compared}),
        "refused": emulated.refusals(answers),
        "would_not_start": sum(not one.starts for one in answers),
        "would_not_start_unseen": sum(not one.starts and one.refused is None for one in answers),
        "accuracy": [asdict(one) for one in accuracy(emulated.groups(answers))],
        "each": [
            asdict(one) | {"change": dict(one.change), "compared": [_compared(each) for each in one.compared]}
            for one in answers
        ],
    }


def _recorded(recordings: Path) -> dict[str, Any]:
    pairs = forecasts.siblings(recordings)
    if not pairs:
        raise fail(f"below {recordings} are no two recordings of one server", Exit.WRONG_USE)
    compared = [one for each in _watched(forecasts.compare_all(pairs), len(pairs), "pairs") for one in each]
    return {
        "pairs": len(pairs),
        "foretold": len({(one.before, one.after) for one in compared}),
        "accuracy": [asdict(one) for one in accuracy(forecasts.groups(compared))],
        "each": [_compared(one) for one in compared],
    }


def _compared(one: Compared) -> dict[str, Any]:
    return asdict(one) | {"change": dict(one.change), "error": one.error, "holds": one.holds}


def _quiet(watched: Iterable[Stretch | None]) -> dict[str, Any]:
    stretches = list(watched)
    kept = [one for one in stretches if one is not None]
    alarms = [_alarm(one, run) for one in kept for run in runs(one.false)]
    incidents = [_incident(one, each) for one in kept for each in one.false_fired]
    dropped = len(stretches) - len(kept)
    return asdict(count(kept)) | {"dropped": dropped, "alarms": alarms, "incidents": incidents}


def _alarm(stretch: Stretch, run: Run) -> dict[str, Any]:
    first, last = (stretch.diagnoses[run.first + turn] for turn in (0, run.windows - 1))
    return _situation(stretch) | {
        "cause": run.cause,
        "from_s": first.start_s,
        "to_s": last.end_s,
        "windows": run.windows,
        "description": next(one.description for one in first.findings if one.cause.value == run.cause),
        "figures": first.figures,
    }


def _incident(stretch: Stretch, incident: Incident) -> dict[str, Any]:
    return _situation(stretch) | {
        "cause": incident.cause.value,
        "since_s": incident.since_s,
        "fired_s": incident.fired_s,
        "description": incident.finding.description,
    }


def _situation(stretch: Stretch) -> dict[str, Any]:
    question = stretch.question
    return {
        "name": question.name,
        "engine": question.engine,
        "release": stretch.release,
        "played": question.kind,
        "flags_known": question.told,
        "accept": sorted(question.accept),
    }


def _told(outcome: Outcome) -> dict[str, Any]:
    question = outcome.question
    return {
        "name": question.name,
        "engine": question.engine,
        "played": question.kind,
        "flags_known": question.told,
        "accept": sorted(question.accept),
        "said": list(outcome.said),
        "rules_said": outcome.rules_said,
    }


def _watched(outcomes: Iterable[T], total: int, what: str) -> Iterator[T]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        yield from progress.track(outcomes, total=total)
