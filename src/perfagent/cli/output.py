"""How answers reach a person or a script: `-o table|json|yaml` on stdout, everything else on stderr."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import typer
import yaml
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from perfagent.domain.finding import Severity

out = Console()
err = Console(stderr=True)

_COLOURS = {Severity.LOW: "cyan", Severity.MEDIUM: "yellow", Severity.HIGH: "red", Severity.CRITICAL: "bold red"}


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class Exit:
    """Exit codes that scripts can use."""

    DONE = 0
    FINDINGS = 1
    WRONG_USE = 2
    UNREACHABLE = 3


def fail(message: str, code: int) -> typer.Exit:
    """Tell what went wrong and hand back the exit to raise."""
    err.print(Text(message, style="red"), soft_wrap=True)
    return typer.Exit(code)


@contextmanager
def watching(seconds: float, what: str) -> Iterator[Callable[[float], None]]:
    """A bar while something takes a known time; hands out the function that is told the seconds passed."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(f"{what} for {seconds:.0f} s", total=seconds)
        yield lambda passed: progress.update(task, completed=passed)


@contextmanager
def working(what: str) -> Iterator[Callable[[float], None]]:
    """A bar while something is computed; hands out the function that is told the share done, 0–1."""
    with Progress(TextColumn(what), BarColumn(), TimeRemainingColumn(), console=err, transient=True) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda share: progress.update(task, completed=share)


def emit(data: dict[str, Any], form: Format, table: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Print a report; `table` prints one that is not a diagnosis."""
    if form is Format.JSON:
        typer.echo(json.dumps(data, indent=2))
    elif form is Format.YAML:
        typer.echo(yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False, allow_unicode=True).rstrip())
    else:
        (table or _table)(data)


def _table(data: dict[str, Any]) -> None:
    release = data["release"] or "release unknown"
    health = "health not measured" if data["health"] is None else f"health {data['health']:.0f}/100"
    basis = f"{data['window_s']:.0f} s window" if data["basis"] == "window" else "figures since the server started"
    out.print(Text(f"{data['target']}: {data['engine']} {release}, {basis}, {health}", style="bold"))
    if data["figures"]:
        out.print(Text("  ".join(f"{name} {short(value)}" for name, value in data["figures"].items()), style="dim"))
    if not data["findings"]:
        out.print(Text("No bottleneck found.", style="green"))
    for finding in data["findings"]:
        out.print(_finding(finding))
    for proposal in data["proposals"]:
        out.print(_change(proposal))
    for advice in data["advice"]:
        out.print(Text(f"→ {advice['text']}"))
    for spot in data["blind_spots"]:
        out.print(Text(f"not judged: {spot['subject']}: {spot['reason']}", style="dim"))
    for note in data["notes"]:
        out.print(Text(f"note: {note}", style="dim"))


def _finding(finding: dict[str, Any]) -> Panel:
    colour = _COLOURS[finding["severity"]]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("evidence", "value", "held against", "would be overturned by"):
        table.add_column(column)
    for seen in finding["evidence"]:
        table.add_row(
            f"{seen['metric']}, {seen['what']}", short(seen["value"]), short(seen["limit"]), seen["overturned_by"]
        )
    title = f"{finding['cause']} · {finding['severity']} · confidence {finding['confidence']:.0%}"
    body = Table.grid()
    body.add_row(Text(finding["description"]))
    body.add_row(table)
    return Panel(body, title=Text(title, style=colour), title_align="left", border_style=colour)


def _change(proposal: dict[str, Any]) -> Text:
    text = Text()
    text.append(f"{proposal['priority']}. {' '.join(proposal['flags'])}", style="bold green")
    text.append(f"   {proposal['description']}")
    for name, told in proposal["predicted"].items():
        text.append(f"\n   {name}: {short(told['now'])} → {short(told['low'])} … {short(told['high'])}", style="dim")
        text.append(f" ({told['basis']})", style="dim")
    for risk in proposal["risks"]:
        text.append(f"\n   risk: {risk}", style="yellow")
    if proposal["needs_approval"]:
        text.append("\n   needs a person's approval", style="yellow")
    return text


def short(value: float | None) -> str:
    """Three significant digits, for people."""
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
