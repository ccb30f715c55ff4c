"""`perfagent bench`: how good are we? Anybody can run it; nothing but the seed decides what comes out."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from perfagent.bench.outcome import Outcome
from perfagent.bench.recorded import diagnose_recorded, labelled
from perfagent.bench.scenario import Split
from perfagent.bench.scenarios import diagnose_scenarios
from perfagent.bench.score import by_agent, by_rules, score
from perfagent.cli.output import Exit, Format, emit, err, fail, out
from perfagent.domain.errors import InvalidInput

bench = typer.Typer(help="How often the agent is right, measured.", no_args_is_help=True)
_SHOWN_CONFUSIONS = 8


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
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TABLE,
) -> None:
    """Play labelled situations, diagnose them as recordings are, and score the answers beside simple rules'."""
    numbers = [number for number in range(scenarios) if split.has(number)]
    try:
        folders = [] if recordings is None else labelled(recordings)
        recorded = list(_watched(map(diagnose_recorded, folders), len(folders), "recordings"))
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    played = list(_watched(diagnose_scenarios(seed, numbers), len(numbers), "scenarios"))
    kept = [one for one in played if one is not None]
    data: dict[str, Any] = {
        "seed": seed,
        "split": split.value,
        "scenarios": scored(kept)
        | {"dropped": len(played) - len(kept), "wrong": [_told(one) for one in kept if not one.right]},
    }
    if recordings is not None:
        data["recordings"] = scored(recorded) | {"each": [_told(one) for one in recorded]}
    emit(data, output, _table)


def scored(outcomes: list[Outcome]) -> dict[str, Any]:
    """Both scores, as data."""
    return {"agent": asdict(score(outcomes, by_agent)), "rules": asdict(score(outcomes, by_rules))}


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


def _watched(outcomes: Iterable[Outcome | None], total: int, what: str) -> Iterator[Any]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        yield from progress.track(outcomes, total=total)


def _table(data: dict[str, Any]) -> None:
    for what in ("scenarios", "recordings"):
        if what not in data:
            continue
        part = data[what]
        agent, rules = part["agent"], part["rules"]
        dropped = f", {part['dropped']} of which never came out as meant" if part.get("dropped") else ""
        out.print(f"{agent['count'] + part.get('dropped', 0)} {what}{dropped}", style="bold")
        out.print(_summary(agent, rules))
        out.print(_causes(agent))
        for title, group in (("engine", "engines"), ("played", "kinds"), ("flags", "flags")):
            out.print(_groups(title, agent[group], rules[group]))
        for right, said, count in agent["confusions"][:_SHOWN_CONFUSIONS]:
            out.print(f"{count} × {right}, said {said}")


def _summary(agent: dict[str, Any], rules: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="dim")
    for column in ("", "agent", "simple rules"):
        table.add_column(column)
    for name, label in (("top1", "top-1"), ("macro_f1", "macro-F1")):
        table.add_row(label, _share(agent[name]), _share(rules[name]))
    hours = f"false alarms in {agent['fault_free_hours']:.1f} fault-free instance-hours"
    table.add_row(hours, str(agent["false_alarms"]), str(rules["false_alarms"]))
    per = "false_alarms_per_1000_h"
    table.add_row("… per 1,000 of them", _rate(agent[per]), _rate(rules[per]))
    return table


def _causes(agent: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="dim")
    for column in ("cause", "n", "recall", "precision", "F1", "missed, but told as not judged"):
        table.add_column(column)
    for name, of in agent["causes"].items():
        precision = "–" if of["precision"] is None else f"{of['precision']:.2f}"
        table.add_row(name, str(of["count"]), _share(of["recall"]), precision, f"{of['f1']:.2f}", str(of["told_blind"]))
    return table


def _groups(title: str, agent: dict[str, Any], rules: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="dim")
    for column in (title, "agent's top-1", "simple rules'"):
        table.add_column(column)
    for name, measured in agent.items():
        table.add_row(name, _share(measured), _share(rules[name]))
    return table


def _share(measured: dict[str, float | None]) -> str:
    return _within(measured, "{:.3f}")


def _rate(measured: dict[str, float | None]) -> str:
    return _within(measured, "{:.0f}")


def _within(measured: dict[str, float | None], form: str) -> str:
    if measured["value"] is None:
        return "–"
    value, low, high = (form.format(measured[name]) for name in ("value", "low", "high"))
    return f"{value} ({low} … {high})"
