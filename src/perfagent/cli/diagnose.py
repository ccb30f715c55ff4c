"""`perfagent diagnose`: one engineer, one server, one minute. Live, or from a recording."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from perfagent.analysis import diagnose as diagnose_window
from perfagent.analysis import of_service
from perfagent.cli.durations import seconds
from perfagent.cli.output import Exit, Format, emit, fail
from perfagent.cli.report import Report, as_data
from perfagent.cli.servers import EngineOption, FlagsOption, ReleaseOption, engine_named, launched_with
from perfagent.cli.watch import watch
from perfagent.collectors.recording import read_recording, view
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.domain.finding import Severity
from perfagent.domain.knob import EffectiveConfig, LaunchConfig
from perfagent.domain.window import Window
from perfagent.optimizers import advise, propose


def diagnose(
    urls: Annotated[
        list[str] | None, typer.Argument(help="Base addresses of the servers, such as http://host:8000.")
    ] = None,
    replay: Annotated[Path | None, typer.Option(help="A recording: a folder NNN.prom with meta.json.")] = None,
    engine: EngineOption = "auto",
    look: Annotated[str, typer.Option("--for", help="How long to watch, such as 60s.")] = "60s",
    flags: FlagsOption = "",
    release: ReleaseOption = None,
    interval: Annotated[
        str | None, typer.Option(help="How far apart the pages of a recording are that does not tell, such as 15s.")
    ] = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TABLE,
    fail_on: Annotated[
        Severity | None, typer.Option(help="Exit with 1 when a finding is at least this severe.")
    ] = None,
) -> None:
    """Name what holds servers back, why, and which flags to change."""
    if bool(urls) == (replay is not None):
        raise fail("give addresses, or --replay with a folder", Exit.WRONG_USE)
    try:
        name = engine_named(engine)
        if replay is not None:
            report = of_recording(replay, name, None if interval is None else seconds(interval))
        else:
            report = asyncio.run(_of_servers(urls or [], name, seconds(look), launched_with(flags), release))
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    except AgentError as unreachable:
        raise fail(str(unreachable), Exit.UNREACHABLE) from unreachable
    emit(as_data(report), output)
    if fail_on and any(finding.severity.rank >= fail_on.rank for finding in report.diagnosis.findings):
        raise typer.Exit(Exit.FINDINGS)


def of_recording(folder: Path, engine: str | None = None, interval_s: float | None = None) -> Report:
    """Diagnose a recording over its whole span. Raises `InvalidInput` or `Unavailable` when it cannot be read."""
    recording = read_recording(folder, engine=engine, interval_s=interval_s)
    return _report(recording.engine, [view(recording)], folder.name, recording.notes)


async def _of_servers(
    urls: list[str], engine: str | None, look_s: float, told: LaunchConfig, release: str | None
) -> Report:
    seen = await watch(urls, engine, look_s, told, release)
    label = next(iter(seen.views)) if len(seen.views) == 1 else f"{len(seen.views)} servers"
    return _report(seen.engine, list(seen.views.values()), label, seen.notes)


def _report(engine: str, views: list[tuple[Window, EffectiveConfig]], label: str, notes: tuple[str, ...]) -> Report:
    diagnoses = tuple(diagnose_window(window, config) for window, config in views)
    whole, config = of_service(label, diagnoses), views[0][1]
    proposals = propose(whole, config, engine)
    several = diagnoses if len(diagnoses) > 1 else ()
    return Report(engine, config, whole, proposals, advise(whole, proposals), several, notes)
