"""`perfagent diagnose`: one engineer, one server, one minute. Live, or from a recording."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from perfagent.analysis import diagnose as diagnose_window
from perfagent.analysis import of_service
from perfagent.cli.durations import seconds
from perfagent.cli.output import Exit, Format, emit, fail, working
from perfagent.cli.report import Report, as_data
from perfagent.cli.servers import (
    EngineOption,
    FlagsOption,
    GpuOption,
    GpusOption,
    IntervalOption,
    ModelOption,
    ReleaseOption,
    engine_named,
    launched_with,
    machine_told,
)
from perfagent.cli.watch import Look, of_recording, of_servers
from perfagent.domain.errors import AgentError, InvalidInput
from perfagent.domain.finding import Severity
from perfagent.domain.machine import Machine
from perfagent.forecast import Forecaster, case
from perfagent.foresight import Replica, busiest
from perfagent.optimizers import TUNABLE, advise, propose, search


def diagnose(
    urls: Annotated[
        list[str] | None, typer.Argument(help="Base addresses of the servers, such as http://host:8000.")
    ] = None,
    replay: Annotated[Path | None, typer.Option(help="A recording: a folder NNN.prom with meta.json.")] = None,
    engine: EngineOption = "auto",
    look: Annotated[str, typer.Option("--for", help="How long to watch, such as 60s.")] = "60s",
    flags: FlagsOption = "",
    release: ReleaseOption = None,
    gpu: GpuOption = None,
    gpus: GpusOption = None,
    model: ModelOption = None,
    interval: IntervalOption = None,
    twin: Annotated[  # noqa: FBT002
        bool, typer.Option(help="Play candidate changes on the server's own traffic; else rules of thumb, at once.")
    ] = True,
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
            seen = of_recording(replay, name, None if interval is None else seconds(interval))
        else:
            seen = of_servers(urls or [], name, seconds(look), launched_with(flags), release)
        report = by_rules(seen)
        if twin:
            report = by_twin(report, seen, machine_told(seen.machine, gpu, gpus, model))
    except InvalidInput as wrong:
        raise fail(str(wrong), Exit.WRONG_USE) from wrong
    except AgentError as unreachable:
        raise fail(str(unreachable), Exit.UNREACHABLE) from unreachable
    emit(as_data(report), output)
    if fail_on and any(finding.severity.rank >= fail_on.rank for finding in report.diagnosis.findings):
        raise typer.Exit(Exit.FINDINGS)


def by_rules(seen: Look) -> Report:
    """What is wrong, and what rules of thumb say to it."""
    diagnoses = tuple(diagnose_window(window, config) for window, config in seen.views)
    whole, config = of_service(seen.label, diagnoses), seen.views[0][1]
    proposals = propose(whole, config, seen.engine)
    several = diagnoses if len(diagnoses) > 1 else ()
    return Report(seen.engine, config, whole, proposals, advise(whole, proposals), several, notes=seen.notes)


def by_twin(report: Report, seen: Look, machine: Machine) -> Report:
    """The same with what the twin makes of the findings, where it can be asked."""
    if TUNABLE.isdisjoint(finding.cause for finding in report.diagnosis.findings):
        return report
    one = busiest([Replica(window, config, seen.launch, machine) for window, config in seen.views])
    try:
        forecaster = Forecaster(case(one.window, one.config, one.launch, one.machine))
        with working("asking the twin") as progress:
            tuned = search(report.diagnosis, report.config, forecaster, progress=progress)
    except InvalidInput as reason:
        return replace(report, basis=f"rules of thumb; the twin was not asked: {reason}")
    advice = advise(report.diagnosis, tuned.proposals, tuned.replicas, tuned.held_back)
    return replace(report, proposals=tuned.proposals, advice=advice, basis="the twin")
